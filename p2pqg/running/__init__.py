"""From start to results: `single.py` leads one run, `sweep.py` a grid of them (`grid.py`).

`seeds.py`: several seeds of a run, which a `crew.py` does; `pool.py`: processes side by side.
`observer.py`: who watches. `screen.py` shows them on a terminal or in a log. `sink.py`: where rows
go beside the run's directory; `sinks.py` names them (`tables.py`, `tensorboard.py`, `wandb.py`,
`mlflow.py`).
"""
