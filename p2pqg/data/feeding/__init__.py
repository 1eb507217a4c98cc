"""Each client's batches: `batches.py` which samples, `feed.py` and `file_feed.py` their values.

`augment.py` crops and flips. Needs torch.
"""
