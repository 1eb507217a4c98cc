"""What runs left on disk, read again; never imports the engine.

`records.py` writes and reads the files, `report.py` makes frames of many runs, `standing.py` and
`comparison.py` put runs and live simulations side by side.
"""
