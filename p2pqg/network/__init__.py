"""The simulated network: what happens to it, and how long everything takes."""

from p2pqg.network.events import Event
from p2pqg.network.impairments import Impairments
from p2pqg.network.ledger import Ledger
from p2pqg.network.network import Network
from p2pqg.network.params import ClockParams
from p2pqg.network.scenario import Scenario, read_scenario
from p2pqg.network.timing import Timing

__all__ = [
    "ClockParams",
    "Event",
    "Impairments",
    "Ledger",
    "Network",
    "Scenario",
    "Timing",
    "read_scenario",
]
