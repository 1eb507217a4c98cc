"""What runs left on disk, read again; never imports the engine.

`records.py` writes and reads the files of a run (`parquet.py`), `columns.py` says what they mean;
`checkpoint.py` are those that a run goes on from, `models.py` has the models of the last one, and
`changes.py` what became of the network. `seeds.py` are runs that differ in their seed. `report.py`
makes frames of many runs, `reaching.py` what it took to reach an accuracy; `standing.py`,
`comparison.py` and `comparison_text.py` put runs and live simulations side by side; `claims/`
judges what is said of them.
"""
