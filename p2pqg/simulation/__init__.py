"""A live network: `simulation.py` is its life; `build.py` makes its parts, an `experiment.py`.

`hosting.py` is where it computes; `what_if.py` has the rows of clients that come back or join, the
verbs themselves are in `p2pqg.network.verbs`. `moment.py` is all that it needs to go on, which on
disk is a `p2pqg.results.checkpoint`, `safe.py` the last one kept; `evidence.py` is what a claim can
be checked with, `summary.py` what is said of it; `card.py` and `notebook.py` are what a notebook
shows.
"""
