"""A recipe: what a run is asked to be.

`settings.py` has its keys and their defaults, `keys.py` the kinds of keys, `tiers.py` one recipe at
several scales, `own_files.py` the user's files that it names, `parts.py` data, split and model.
"""
