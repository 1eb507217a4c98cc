"""The command line: argv -> settings -> run, and where the results are.

Heavy imports stay inside the commands: `p2pqg --help` answers at once.
"""

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
