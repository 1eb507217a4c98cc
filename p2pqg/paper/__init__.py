"""The paper's tables and figures, beside ours.

`published.py` reads its numbers, `layout.py` and `tables.py` set ours in its layout, `figures/` has
one file per figure.
"""
