"""The simulated network: what happens to it, and how long everything takes.

`network.py` is a topology and what became of it. What a user does to it: `verbs.py` (drop_links and
all others in one table), `changes.py` (what each does, and whether it can be done), `clients.py`
and `named.py` (who is meant), `neighbors.py` (who talks to whom), `grown.py` (more clients),
`scenario.py` and its `events.py` (what is done when), `trial.py` (whether all of that can be).
What goes wrong: `impairments.py` (messages lost or late, clients that sit a round out), `lies.py`
(who lies). What W is then: `effective.py`, and without its lost entries `remains.py`.
How long it takes: `timing.py`, of `compute.py` (gradients), `trips.py` and `links.py` (messages),
with `params.py` (the keys of `network:`), `link_spec.py` (what may be said of links) and
`units.py`; `ledger.py` counts what went over each link. `stored.py` is all of it for a checkpoint.
"""

from p2pqg.network.events import Event
from p2pqg.network.impairments import Impairments
from p2pqg.network.ledger import Ledger
from p2pqg.network.network import Network
from p2pqg.network.params import ClockParams
from p2pqg.network.scenario import Scenario
from p2pqg.network.timing import Timing

__all__ = [
    "ClockParams",
    "Event",
    "Impairments",
    "Ledger",
    "Network",
    "Scenario",
    "Timing",
]
