"""Each client's batches: `batches.py` which samples, `feed.py` and `file_feed.py` their values.

`own_pace.py`: those of clients that do not wait. `augment.py` crops and flips. Needs torch.
"""

STEPS_AHEAD = 64
"""Batch indices are drawn this many steps at a time: a cache, nothing depends on it."""

ENTRIES_AHEAD = 2**24
"""Indices drawn ahead are at most so many, unless a single step takes more."""
