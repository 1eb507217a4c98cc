"""What remains of W when some of its entries are gone.

Two cases. Who talks to whom has changed, and the clients know: W is rebuilt by its rule. A message
did not arrive, and only its receiver knows: the weights stay, and somebody keeps what is left over.
"""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np

from p2pqg.topology.mixing import Mixing
from p2pqg.topology.mixing_rules import RULES, Arcs


def rebuilt(W: Mixing, rule: str, gone: np.ndarray, by_columns: bool = False) -> Mixing:
    """W by its own rule on the links that remain; who has none left keeps all of itself.

    `given` has no rule: the weights that remain stay, own weights take the rest. `best_constant`
    does not exist where those who talk are in pieces: there it is `metropolis_hastings`.

    Args:
        W: of the whole network.
        rule: that W comes from, unless it says so itself.
        gone: bool [entries]; own weights are never gone, whatever it says.
        by_columns: keep the columns at 1, not the rows (push-sum).
    """
    apart = W.receivers != W.senders
    if not (gone & apart).any():
        return W
    own, rule = W.rule, W.rule or rule
    if rule == "given":
        return without(W, gone & apart, "sender" if by_columns else "receiver")
    if rule == "uniform" and by_columns:
        rule = "columns"  # on an irregular network uniform keeps the rows only
    left = Arcs(W.num_clients, W.senders[apart & ~gone], W.receivers[apart & ~gone])
    new = _best_constant(left) if rule == "best_constant" else RULES[rule].build(left)
    return replace(new, rule=own)


def _best_constant(left: Arcs) -> Mixing:
    """The rule among those who talk to somebody; metropolis_hastings if they are in pieces."""
    graph = nx.Graph(zip(left.senders.tolist(), left.receivers.tolist(), strict=True))
    graph.add_nodes_from(range(left.num_clients))
    talking = [client for client, degree in graph.degree() if degree]
    piece = graph.subgraph(talking)
    if not talking or not nx.is_connected(piece):
        return RULES["metropolis_hastings"].build(left)
    W = RULES["best_constant"].build(nx.convert_node_labels_to_integers(piece, ordering="sorted"))
    clients = np.array(sorted(talking))
    alone = np.setdiff1d(np.arange(len(graph)), clients)
    return Mixing.of(
        len(graph),
        np.concatenate([clients[W.receivers], alone]),
        np.concatenate([clients[W.senders], alone]),
        np.concatenate([W.weights, np.ones(len(alone))]),
    )


def without(W: Mixing, gone: np.ndarray, keeper: str) -> Mixing:
    """W without some messages; entries keep their ages.

    Args:
        W: [clients, clients].
        gone: bool [entries], none of them an own weight.
        keeper: of the weight of what is gone: "receiver", the rows' sums stay (its own model counts
            for more); "sender", the columns' stay (it keeps the mass it could not hand over);
            "nobody", a receiver divides by the weights of what it has, or stays where it is if
            they do not sum to more than 0.
    """
    n = W.num_clients
    itself = W.receivers == W.senders
    left = ~itself & ~gone
    receivers, senders, weights = W.receivers[left], W.senders[left], W.weights[left]
    own: np.ndarray = np.zeros(n)
    own[W.receivers[itself]] = W.weights[itself]
    if keeper == "nobody":
        short = np.bincount(W.receivers[gone], minlength=n) > 0
        got = own + np.bincount(receivers, weights, n)
        stuck = short & (got <= 1e-12)
        scale = np.where(short & ~stuck, W.row_sums() / np.where(got > 0, got, 1), 1.0)
        own = np.where(stuck, W.row_sums(), own * scale)
        weights = np.where(stuck[receivers], 0.0, weights * scale[receivers])
    else:
        holders = W.receivers if keeper == "receiver" else W.senders
        own += np.bincount(holders[gone], W.weights[gone], n)
        own[np.abs(own) < 1e-12] = 0  # an own weight that only rounding left over
    everyone = np.arange(n)
    ages = None
    if W.ages is not None:
        ages = np.concatenate([W.ages[left], np.zeros(n, dtype=np.int64)])
    return Mixing.of(
        n,
        np.concatenate([receivers, everyone]),
        np.concatenate([senders, everyone]),
        np.concatenate([weights, own]),
        ages,
    )
