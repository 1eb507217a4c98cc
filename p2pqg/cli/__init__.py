"""The command line: argv -> settings -> run, and where the results are.

    program.py    what all commands share: errors, exit codes, --debug
    running.py    run, resume
    sweeping.py   sweep, table
    tuning.py     tune
    claims.py     claims
    looking.py    compare, models, report, watch, topology, consensus
    listing.py    list; `catalogue.py` for its --markdown
    early.py      a stop while these are loaded

Heavy imports stay inside the commands: `p2pqg --help` answers at once.
"""

from p2pqg.cli.early import stopped_in_a_line

with stopped_in_a_line():
    from p2pqg.cli import (  # noqa: F401  each files its commands
        claims,
        listing,
        looking,
        running,
        sweeping,
        tuning,
    )
    from p2pqg.cli.program import main

__all__ = ["main"]
