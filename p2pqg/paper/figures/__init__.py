"""The figures of the paper: numbers by our code, and their drawings. One file per figure.

`p2pqg sweep figure2` makes one; `run_figure` does the same for the mapping of a recipe. What they
share is in `_figure.py`.
"""

from p2pqg.base.registry import import_parts
from p2pqg.paper.figures._figure import FIGURES, Recipe, figure, read_figure, run_figure

import_parts(__name__, __path__)

__all__ = ["FIGURES", "Recipe", "figure", "read_figure", "run_figure"]
