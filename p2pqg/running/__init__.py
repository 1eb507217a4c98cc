"""From start to results: `single.py` leads one run, `sweep.py` a grid of them (`grid.py`).

`screen.py` shows them on a terminal, `tensorboard.py` writes events.
"""
