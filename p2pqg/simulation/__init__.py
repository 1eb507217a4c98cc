"""A live network: `simulation.py` is its life, `experiment.py` builds it from settings.

`what_if.py` is what can be done to it, `views.py`, `card.py` and `notebook.py` what it shows;
`moment.py` is all that it needs to go on, `checkpoint.py` that on disk.
"""
