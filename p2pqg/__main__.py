"""`python -m p2pqg`."""

from p2pqg.cli import main

if __name__ == "__main__":  # processes that are begun anew look at it, too
    main()
