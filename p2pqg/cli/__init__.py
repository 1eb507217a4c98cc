"""The command line: argv -> settings -> run, and where the results are.

`program.py` is what all commands share; `running.py`, `sweeping.py`, `tuning.py`, `claims.py`,
`looking.py` and `listing.py` (with `catalogue.py`) have their commands. Heavy imports stay inside
these: `p2pqg --help` answers at once.
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
