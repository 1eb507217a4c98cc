"""From start to results: runs, sweeps of them, and who watches.

`single.py` begins a run or goes on with it, `leading.py` leads it to its end, `writer.py` writes
what it leaves behind; `sweep.py` does a grid of them (`grid.py`), all of one code and data
(`made_of.py`).

`seeds.py`: several seeds of a run, which a `crew.py` does; `pool.py`: processes side by side;
`tuning.py`: trials of `p2pqg tune`. `observer.py`: who watches. `screen.py` shows them on a
terminal or in a log, `told.py` is what it says of a run in words; `watch.py` is the page of `p2pqg
watch`, `watching.py` that of `run --watch`. `sink.py`: where rows go beside the run's directory;
`sinks.py` names them (`tables.py`, `tensorboard.py`, `wandb.py`, `mlflow.py`).
"""
