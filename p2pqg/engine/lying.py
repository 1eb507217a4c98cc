"""What liars send, and where their receivers find it: attacks on one block's part of a gossip.

Lies that are the same for everybody are made by the liar's block, and travel instead of its row.
Lies told to one receiver are made by the receiver's block, which has all that they are made of. A
liar mixes its own honest row.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from p2pqg.algorithms.attacks import Lie, Sent, Target
from p2pqg.base.draws import keyed
from p2pqg.base.errors import AlgorithmError
from p2pqg.base.uploading import uploaded
from p2pqg.engine.call import guarded
from p2pqg.engine.inbox_groups import Group, at_once, group_of, of_one_size
from p2pqg.engine.mixer import Arrivals
from p2pqg.engine.routes import RowRoutes
from p2pqg.network.lies import Attack

Parcel = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Liars:
    """The liars of one block, and those that its clients hear, in rounds in which they are these.

    Attributes:
        attacks: that go on.
        clients: hosted by the block.
    """

    attacks: tuple[Attack, ...]
    clients: range

    @property
    def needs_everybody(self) -> bool:
        """A user's function wants to see all rows."""
        return any(attack.lie.kind == "own" for attack in self.attacks)

    def hosted(self, attack: Attack) -> list[int]:
        """Rows of the block that lie so."""
        return [client - self.clients.start for client in attack.who if client in self.clients]

    def sent(
        self,
        tensors: Parcel,
        before: Tensor,
        normal: Callable[[int, int, Tensor], Tensor],
        anywhere: bool = False,
        models: bool = True,
    ) -> Parcel:
        """What the block's clients send to everybody.

        Args:
            tensors: [k, ...], what they would send honestly.
            before: [k, params], their models before the round.
            normal: (row, number of the tensor, like) -> standard normal numbers.
            anywhere: only by attacks that suit whatever is sent.
            models: whether the first tensor holds models.
        """
        found = list(tensors)
        for attack in self.attacks:
            rows = self.hosted(attack)
            wanted = attack.lie.kind == "sent" and (
                not anywhere or attack.lie.entry.traits["anywhere"]
            )
            about = lied_about(tensors, before)
            if attack.lie.entry.traits.get("first"):
                about = about[:1] if models else []
            for number in about if rows and wanted else ():
                at = uploaded(torch.tensor(rows), before.device)
                honest = tensors[number].index_select(0, at)

                def draws(rows: list[int] = rows, n: int = number, like: Tensor = honest) -> Tensor:
                    return torch.stack([normal(row, n, like[0]) for row in rows])

                if found[number] is tensors[number]:
                    found[number] = tensors[number].clone()
                sent = Sent(honest, before.index_select(0, at), draws)
                found[number][at] = attack.lie.entry.build(sent, attack.lie.params)
        return tuple(found)


def lied_about(tensors: Parcel, before: Tensor) -> list[int]:
    """Numbers of the tensors of a message that are rows: not counts, not a push-sum weight."""
    model = before[:1].numel()
    return [
        number
        for number, t in enumerate(tensors)
        if t.is_floating_point() and (t[:1].numel() > 1 or t[:1].numel() == model)
    ]


class Lying:
    """What comes to one block's clients by certain routes while certain attacks go on.

    Attributes:
        arrivals: where they find it, in the columns and, behind them, in `more`.
    """

    def __init__(self, routes: RowRoutes, block: int, liars: Liars, like: Tensor) -> None:
        honest = Arrivals.of(routes, block)
        self.liars = liars
        self.num_columns = len(routes.senders[block])
        columns, own = honest.columns.copy(), honest.own.copy()
        lying = {c: a for a in liars.attacks if a.lie.kind != "data" for c in a.who}
        # Their own honest rows come first behind the columns.
        mine = np.array([c - liars.clients.start for c in sorted(lying) if c in liars.clients], int)
        self.mine = uploaded(torch.from_numpy(mine), like.device)
        own[mine] = self.num_columns + np.arange(len(mine))
        next_column = self.num_columns + len(mine)
        self.lies: list[_Told | _Asked] = []  # in the order of their columns
        liar = np.isin(honest.senders, list(lying))
        for attack in liars.attacks:
            entries = np.flatnonzero(np.isin(honest.senders, attack.who))
            if attack.lie.kind == "told" and len(entries):
                receivers = np.unique(honest.rows[entries])
                place = next_column + np.searchsorted(receivers, honest.rows[entries])
                columns[entries] = place
                good = honest.only(~liar)
                bad = np.bincount(honest.rows[liar], honest.weights[liar], honest.num_clients)
                groups = [
                    (
                        group_of(good, some, like),
                        uploaded(torch.from_numpy(bad[some]), like),
                        uploaded(torch.from_numpy(np.searchsorted(receivers, some)), like.device),
                    )
                    for some in of_one_size(good, among=receivers)
                ]
                self.lies.append(_Told(attack.lie, groups, len(receivers)))
                next_column += len(receivers)
            elif attack.lie.kind == "own" and len(entries):
                columns[entries] = next_column + np.arange(len(entries))
                at = np.searchsorted(attack.who, honest.senders[entries])
                receivers = honest.rows[entries] + liars.clients.start
                places = map(torch.from_numpy, (at, receivers))
                self.lies.append(_Asked(attack, *(uploaded(p, like.device) for p in places)))
                next_column += len(entries)
        self.arrivals = honest.replaced(own, columns)

    def more(
        self,
        columns: Tensor,
        honest: Tensor,
        everybody: Tensor | None,
        W: np.ndarray | None,
        round: int,
        draws: int,
    ) -> Tensor:
        """Rows to be put behind the columns.

        Args:
            columns: of the block: what it has sent, and what came in.
            honest: [k, ...], what its clients have.
            everybody: [clients, ...], what all have, where a user's function wants it.
            W: [clients, clients], likewise.
            round: now.
            draws: a key of what such a function draws, the same in every block.
        """
        rows = [honest.index_select(0, self.mine)]
        for lie in self.lies:
            if isinstance(lie, _Told):
                found = lie.rows(columns.flatten(1), honest.flatten(1))
                rows.append(found.view(-1, *columns.shape[1:]))
            else:
                assert everybody is not None
                assert W is not None
                rows.append(lie.rows(everybody, W, round, draws))
        return torch.cat([part.to(columns) for part in rows])


@dataclass(frozen=True, eq=False)
class _Told:
    """An attack of what each receiver sees: one row for each that hears such a liar.

    Attributes:
        groups: the receivers' honest neighbors, what all liars among their neighbors weigh, and
            where they are among all receivers.
        count: receivers.
    """

    lie: Lie
    groups: list[tuple[Group, Tensor, Tensor]]
    count: int

    def rows(self, columns: Tensor, own: Tensor) -> Tensor:
        """[receivers, params], in rising order."""
        found = columns.new_empty(self.count, columns.shape[1])
        for group, bad, rank in self.groups:
            found[rank] = _told(self.lie, group, bad, columns, own)
        return found


@dataclass(frozen=True, eq=False)
class _Asked:
    """A user's attack: one row for each message that a liar sends here.

    Attributes:
        at: int64 [messages], which of the liars; receivers: int64 [messages].
    """

    attack: Attack
    at: Tensor
    receivers: Tensor

    def rows(self, everybody: Tensor, W: np.ndarray, round: int, draws: int) -> Tensor:
        """[messages, ...]."""
        lies = _asked(self.attack, everybody, W, round, draws)
        return lies[self.at] if lies.dim() == everybody.dim() else lies[self.at, self.receivers]


def _told(lie: Lie, group: Group, bad: Tensor, columns: Tensor, own: Tensor) -> Tensor:
    """[k, params]: what the receivers of a group are told."""
    found = []
    per_client = max(1, (group.columns.shape[1] + 1) * columns[0].nbytes)
    size = max(1, at_once(columns) // per_client)
    for part, weight in zip(group.parts(size), bad.split(size), strict=True):
        mine, there = own[part.rows], part.there
        good = columns[part.columns]
        good = torch.where(there[:, :, None], good, mine[:, None])
        target = Target(mine, good, there.to(own), part.weights, weight)
        found.append(lie.entry.build(target, lie.params))
    return torch.cat(found)


def _asked(attack: Attack, everybody: Tensor, W: np.ndarray, round: int, draws: int) -> Tensor:
    """What a user's function says: [liars, ...], or [liars, clients, ...]."""
    entry, flat = attack.lie.entry, everybody.flatten(1)
    liars = uploaded(torch.tensor(attack.who), flat.device)
    given = [flat.clone(), uploaded(torch.from_numpy(W), flat), round]
    if len(inspect.signature(entry.build).parameters) > len(given):
        given.append(liars)
    with keyed(draws, flat.device):  # each block asks for itself
        found = guarded(entry, entry.build, *given)
    shape, n = tuple(flat.shape[1:]), len(flat)
    shapes = [shape, (len(liars), *shape), (len(liars), n, *shape)]
    if not isinstance(found, Tensor) or tuple(found.shape) not in shapes:
        got = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise AlgorithmError(
            f"attack {entry.name} must return rows [params], [liars, params] or [liars, clients, "
            f"params], here {' or '.join(str(list(one)) for one in shapes)}; got {got}"
        )
    if found.dim() == 1:
        found = found.expand(len(liars), -1)
    return found.view(*found.shape[:-1], *everybody.shape[1:])
