"""A recipe: what a run is asked to be.

`settings.py` has its keys and their defaults, `keys.py` the kinds of keys, `keywords.py` the same
for editors and type checkers, `tiers.py` one recipe at several scales. `parts.py` finds the data
set, split, model, loss and metrics that it names, and `learning.py` puts them together. A user's
own are objects (`own.py`) or files (`own_files.py`); `trial.py` tries them on a batch, for their
`side_effects.py` and `against_pytorch.py`. `ignored.py` says which settings change nothing,
`stopping.py` when a run may end early.
"""
