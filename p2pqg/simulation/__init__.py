"""A live network, from the settings of a run to its summary.

`simulation.py` is what users import. What it shows of itself is in `shown.py`; how it is kept,
forked and gone back to in `paused.py`; how it runs and ends in `life.py`; what can be done to it
between two rounds in `interventions.py` (the verbs themselves are in `p2pqg.network.verbs`).

It begins as an `experiment.py`, which `build.py` makes of the settings. Each part is `found.py` by
itself: `method.py` is which algorithm, `length.py` how long, `rates.py` by what steps, `task.py`
what clients learn; `clocked.py` gives the network its clock, `rehearsal.py` goes through the
scenario, `resolved.py` is what config.yaml has. `hosting.py` is where it computes.

A checkpoint: `moment.py` is all that a simulation needs to go on, `on_disk.py` how that becomes a
`p2pqg.results.checkpoint`, and `going_on.py` builds the experiment again for one; `safe.py` is the
last one kept.

`what_if.py` has the rows of clients that come back or join, `callbacks.py` what a user wants to be
told of. `evidence.py` is what a claim can be checked with, `summary.py` what is said of it,
`speed.py` how fast its clients step; `card.py` and `notebook.py` are what a notebook shows, and
`turns.py` lets one thread at a time use it.
"""
