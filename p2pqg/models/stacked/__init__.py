"""All clients' models as rows of one matrix, and their gradients: `stacked.py`.

Its strategies: `batched.py` (stacks of linear layers), `vmap.py`, `loop.py`; `strategy.py` is what
they share, bf16 and fp16 among it. `layout.py` places parameters in a row, `memory.py` gives memory
back, `scaling.py` has the loss scales of fp16. `promises.py` is what holds on a GPU, too, and
`lanes.py` has its streams.

On a GPU a step is captured once and replayed: `recording.py` says what that is, `cuda_graphs.py`
does it, `captured.py` puts it in a strategy's place. `choosing.py` chooses: ways to compute are in
`ways.py`, `trying.py` measures them by `apart.py`, in a process of its own (`probe.py`), and
`remembered.py` keeps what it found.
"""
