"""All clients' models as rows of one matrix, and their gradients: `stacked.py`.

Its strategies: `batched.py` (stacks of linear layers), `vmap.py`, `loop.py`. `layout.py` places
parameters in a row, `memory.py` gives memory back, `scaling.py` has the loss scales of fp16.
"""
