"""Networks on a page: where the clients go, and small networks in characters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import networkx as nx
import numpy as np

from p2pqg.topology import Mixing, Schedule

MOST_IN_LINES, MOST_IN_MATRIX = 40, 64
"""Clients up to which lines can be told apart in characters, or a matrix fits."""
WIDTH, HEIGHT, PAGE = 56, 19, 78
"""Characters of a drawing, and of a line."""
MOST_LETTERS = 4
"""Letters of a name that a client is drawn by."""
LARGEST_LAYOUT = 200
"""Clients up to which a layout is worth its time; beyond, a circle."""


def places(schedule: Schedule) -> np.ndarray:
    """Where to draw the clients: [clients, 2], centered, the longer side from -1 to 1.

    A circle for what is regular or changes; else distances on the page like those in the network.
    """
    n = schedule.num_clients
    angle = 2 * np.pi * np.arange(n) / n
    circle = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    graph = schedule.graph(0).to_undirected()
    regular = len({degree for _, degree in graph.degree()}) == 1
    if schedule.period != 1 or regular or not 2 < n <= LARGEST_LAYOUT:
        return circle
    spots = _least_stress(graph)
    spots = spots - spots.mean(axis=0)
    spots = spots @ np.linalg.svd(spots, full_matrices=False)[2].T  # the longer side goes across
    spots -= (spots.max(axis=0) + spots.min(axis=0)) / 2
    return _apart(spots / np.abs(spots).max(), 0.6 / n**0.5)


def _apart(spots: np.ndarray, gap: float, steps: int = 200) -> np.ndarray:
    """Push clients off each other that would lie on one another, as far as steps go."""
    for _ in range(steps):
        way = spots[:, None] - spots[None]
        far = np.linalg.norm(way, axis=-1)
        near = (far < gap) & ~np.eye(len(spots), dtype=bool)
        if not near.any():
            break
        push = np.where(near, (gap - far) / np.maximum(far, 1e-9), 0.0)
        spots = np.clip(spots + 0.3 * (push[:, :, None] * way).sum(axis=1), -1, 1)
    return spots


def _least_stress(graph: nx.Graph, rounds: int = 300) -> np.ndarray:
    """Stress majorisation (Gansner, Koren, North, 2004), from classical scaling."""
    n = graph.number_of_nodes()
    far = np.zeros((n, n))
    for i, lengths in nx.all_pairs_shortest_path_length(graph):
        far[i, list(lengths)] = list(lengths.values())
    far[(far == 0) & ~np.eye(n, dtype=bool)] = 1.5 * far.max() + 1  # pieces lie beside each other
    center = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-center @ far**2 @ center / 2)
    spots = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0))
    spots = spots + 0.01 * np.cos(np.arange(2 * n).reshape(n, 2) ** 2)  # no two in one place
    weights = (1 - np.eye(n)) / (far + np.eye(n)) ** 2
    laplacian = np.diag(weights.sum(axis=1)) - weights
    inverse = np.linalg.pinv(laplacian, rcond=1e-9, hermitian=True)  # it is singular
    for _ in range(rounds):
        apart = np.linalg.norm(spots[:, None] - spots[None], axis=-1)
        pull = -weights * far / np.maximum(apart, 1e-9)
        np.fill_diagonal(pull, 0)
        np.fill_diagonal(pull, -pull.sum(axis=1))
        spots = inverse @ pull @ spots
    return spots


def picture(schedule: Schedule) -> list[str]:
    """A small network in characters, in lines of at most 78; none if it would not fit.

    Few links: clients by name or number and lines between them. Many, directed or changing: the
    matrix of who hears whom, of several rounds side by side.
    """
    n = schedule.num_clients
    links = schedule.graph(0).number_of_edges()
    plain = schedule.period == 1 and not schedule.directed
    if plain and n <= MOST_IN_LINES and links <= max(24, 1.6 * n):
        return lines_between(places(schedule), schedule.mixing(0), marks(schedule))
    if n > MOST_IN_MATRIX:
        return []
    shown = min(schedule.period or 4, max(1, (PAGE + 3) // (max(n, 8) + 3)))
    columns = [matrix(schedule.mixing(t)) for t in range(shown)]
    width = max(n, 8)
    titles = [f"round {t}" for t in range(shown)] if schedule.period != 1 else []
    rows = [tuple(titles)] if titles else []
    rows += zip_longest(*columns, fillvalue="")
    note = "row: receiver, column: sender, from client 0; dark: hears it"
    return ["   ".join(cell.ljust(width) for cell in row).rstrip() for row in rows] + [note]


def matrix(W: Mixing) -> list[str]:
    """Who hears whom, [clients, clients], two rows a line, so that it looks square."""
    hears = np.zeros((W.num_clients + W.num_clients % 2, W.num_clients), dtype=bool)
    hears[W.receivers, W.senders] = True
    blocks = np.array(["·", "▀", "▄", "█"])
    return ["".join(line) for line in blocks[hears[::2] + 2 * hears[1::2]]]


def marks(schedule: Schedule) -> list[str]:
    """What stands for each client in a drawing: its name where all are short, else its number."""
    n = schedule.num_clients
    short = all(len(label) <= MOST_LETTERS for label in schedule.labels)
    return [schedule.called(i) if short else str(i) for i in range(n)]


def lines_between(spots: np.ndarray, W: Mixing, texts: Sequence[str]) -> list[str]:
    """Clients as texts, links as lines of Braille dots (2 x 4 of them in a character)."""
    dots = np.zeros((HEIGHT * 4, WIDTH * 2), dtype=bool)
    last = np.array([WIDTH * 2 - 5, HEIGHT * 4 - 5])
    middle = (spots.max(axis=0) + spots.min(axis=0)) / 2
    size = np.ptp(spots, axis=0)
    size = np.maximum(size, max(size.max() / 3, 1e-9))  # stretched to the page, within reason
    at = 2 + (0.5 + (spots - middle) / size) * (last - 2)
    at[:, 1] = HEIGHT * 4 - 1 - at[:, 1]  # rows count downwards
    for receiver, sender in zip(W.receivers, W.senders, strict=True):
        steps = int(np.abs(at[receiver] - at[sender]).max()) + 1
        x, y = np.linspace(at[receiver], at[sender], steps).round().astype(int).T
        dots[y, x] = True
    cells = dots.reshape(HEIGHT, 4, WIDTH, 2).transpose(0, 2, 1, 3).reshape(HEIGHT, WIDTH, 8)
    bits = np.array([0, 3, 1, 4, 2, 5, 6, 7])  # of the dots, left to right, then down
    codes = (cells << bits).sum(axis=-1)
    page = [[chr(0x2800 + code) if code else " " for code in row] for row in codes]
    for text, (x, y) in zip(texts, at, strict=True):
        column = min(max(int(x) // 2 - len(text) // 2, 0), WIDTH - len(text))
        page[int(y) // 4][column : column + len(text)] = text
    return "\n".join("".join(row).rstrip() for row in page).strip("\n").split("\n")
