"""A recipe: what a run is asked to be.

`settings.py` has its keys and their defaults, `keys.py` the kinds of keys, `keywords.py` the same
for editors and type checkers, `tiers.py` one recipe at several scales. `parts.py` are data, split
and model; `trial.py` tries a user's own on a batch; `own.py` are objects in the place of names, and
`own_files.py` the user's files that it names. `ignored.py` says which settings change nothing,
`stopping.py` when a run may end early.
"""
