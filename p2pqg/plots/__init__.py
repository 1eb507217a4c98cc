"""Frames and runs -> figures. The only package that knows matplotlib.

Every function returns a figure, which shows itself in a notebook, and writes it where `save` says:
.png, .svg or .pdf. Sizes are those of print: a column or a page of a paper (`canvas.py`). What is
drawn: `curves.py`, `points.py`, `clients.py`, `shards.py`, `networks.py`.
"""

from p2pqg.plots.clients import draw_clients
from p2pqg.plots.curves import draw_consensus, draw_curves, draw_spread
from p2pqg.plots.networks import draw_network, draw_networks
from p2pqg.plots.points import draw_points
from p2pqg.plots.shards import draw_label_dots, draw_shards

__all__ = [
    "draw_clients",
    "draw_consensus",
    "draw_curves",
    "draw_label_dots",
    "draw_network",
    "draw_networks",
    "draw_points",
    "draw_shards",
    "draw_spread",
]
