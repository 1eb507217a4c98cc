"""What runs left on disk, read again; never imports the engine.

One run: `directory.py` writes its files (`parquet.py`), `schemas.py` says what is in them, and
`run.py` reads them again; `columns.py` is how a person reads them. `checkpoint.py` are those that
a run goes on from; `models.py` has the models of the last one, and `model_files.py` writes them
for plain torch. `changes.py` is what became of the network. `seeds.py` are runs that differ in
their seed.
Many runs: `search.py` finds them in folders, `alike.py` says which differ and in what
(`redrawn.py`: in the network of that name, too),
`run_frames.py` has a row of each, `cells.py` the means that tables show, at the best of what was
tried (`tuned.py`); `reaching.py` is what it took to reach an accuracy.
Side by side, runs and live simulations: `standing.py`, `comparison.py`, `comparison_text.py`.
`claims/` judges what is said of them.
"""
