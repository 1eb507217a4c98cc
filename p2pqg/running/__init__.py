"""From start to results: `single.py` leads one run, `sweep.py` a grid of them (`grid.py`).

`screen.py` shows them on a terminal or in a log. `sink.py`: where rows go
beside the run's directory; `sinks.py` names them (`tables.py`, `tensorboard.py`,
`wandb.py`, `mlflow.py`).
"""
