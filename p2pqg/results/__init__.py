"""What runs left on disk, read again; never imports the engine.

`records.py` writes and reads the files, `checkpoint.py` those that a run goes on from, and
`models.py` has the models of the last one; `report.py` makes frames of many runs, `standing.py` and
`comparison.py` put runs and live simulations side by side, `claims.py` judges what is said of them.
"""
