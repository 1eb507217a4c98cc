"""A live network, from the settings of a run to its summary.

`simulation.py` is what users import. What it shows of itself is in `shown.py`; how it runs, what it
keeps and how it ends in `life.py`; what can be done to it between two rounds in `interventions.py`
(the verbs themselves are in `p2pqg.network.verbs`).

It begins as an `experiment.py`, which `build.py` makes of the settings, with `method.py` (which
algorithm) and `length.py` (how long); `hosting.py` is where it computes. `moment.py` is all that it
needs to go on, which on disk is a `p2pqg.results.checkpoint`, and `going_on.py` builds the
experiment again for one; `safe.py` is the last one kept.
`what_if.py` has the rows of clients that come back or join, `callbacks.py` what a user wants to be
told of. `evidence.py` is what a claim can be checked with, `summary.py` what is said of it;
`card.py` and `notebook.py` are what a notebook shows, and `turns.py` lets one thread at a time use
it.
"""
