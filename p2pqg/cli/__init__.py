"""The command line: argv -> settings -> run, and where the results are.

Heavy imports stay inside the commands: `p2pqg --help` answers at once.
"""

from p2pqg.cli import listing, looking, running, sweeping, tuning  # noqa: F401  each files its commands
from p2pqg.cli.program import main

__all__ = ["main"]
