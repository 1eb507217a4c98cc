"""The control room as a widget of notebooks; where there are none, the card with a line."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any
from weakref import ref

from p2pqg.algorithms.attacks import ATTACKS
from p2pqg.base.errors import TopologyError
from p2pqg.control.playable import Playable
from p2pqg.control.player import MEGABYTES, Frame
from p2pqg.control.room import Room
from p2pqg.page import front
from p2pqg.topology import build

HERE = Path(__file__).parent
NO_PACKAGE = "The control room needs widgets: pip install 'p2pqg[notebooks]', then restart."
NO_FRONT = (
    "This is how it stood: the control room needs a live kernel, and a notebook that shows widgets "
    "(JupyterLab, Notebook 7, VS Code, Colab)."
)
STEMS = ("ring", "torus", "exponential", "complete", "star", "onepeer-exponential")
"""Networks that are offered, as far as there are some of that size."""


def control_of(sim: Any, megabytes: float = MEGABYTES, folder: str | Path | None = None) -> Any:
    """A view of a simulation's control room: a widget, or what is shown without.

    All views of one simulation have the same room.

    Raises:
        ConfigError: the simulation is closed, or the folder cannot be made.
    """
    room = sim.room
    if room is None or sim.closed:
        room = sim.room = Room(sim, megabytes, folder)
    elif folder is not None:
        room.keep_in(folder)
    try:
        import anywidget  # noqa: F401  it is asked whether it is there
    except ImportError:
        return Still(sim, room, NO_PACKAGE)
    return _widget_class()(room, ref(sim))


class Still:
    """The static card, with a line that says why there is no more; code can lead its room."""

    def __init__(self, sim: Playable, room: Room, why: str) -> None:
        self.sim, self.room, self.why = sim, room, why

    def _repr_html_(self) -> str:
        return still(self.sim._repr_html_(), self.why)

    def __repr__(self) -> str:
        return f"{self.sim!r}. {self.why}"


def still(card: str, why: str) -> str:
    """A card and a line."""
    line = '<div style="font:13px system-ui,sans-serif;margin:6px 2px">'
    return f"{card}{line}{escape(why)}</div>"


def networks_of(n: int) -> list[str]:
    """Names of networks of that many clients."""
    found = []
    for stem in STEMS:
        try:
            build(f"{stem}{n}")
        except TopologyError:
            continue
        found.append(f"{stem}{n}")
    return found


_made: Any = None


def _widget_class() -> Any:
    """The class, made when it is first needed: anywidget is an extra."""
    global _made
    if _made is None:
        import anywidget
        import traitlets

        class Control(anywidget.AnyWidget):  # without types
            """A view of a room.

            Attributes:
                room: leads the simulation; `room.wait()` waits until it stands.
                card: the static card, for paper and for notebooks without widgets.
            """

            _esm = front.script() + (HERE / "control.js").read_text(encoding="utf-8")
            _css = front.style()
            card = traitlets.Unicode().tag(sync=True)
            attacks = traitlets.List().tag(sync=True)
            topologies = traitlets.List().tag(sync=True)

            def __init__(self, room: Room, sim: Any) -> None:
                experiment = sim().experiment
                super().__init__(
                    attacks=sorted(ATTACKS) if experiment.waits else [],
                    topologies=networks_of(sim().network.num_clients),
                )
                self.room, self._sim = room, sim
                self._stood: Any = None
                self.on_msg(self._asked)
                room.listeners.append(self._show)
                self._keep_card()

            def __repr__(self) -> str:
                return f"<Control room of {self._sim()!r}>"

            def _asked(self, _: Any, content: Any, buffers: Any) -> None:
                if isinstance(content, dict):
                    self.room.act(content)

            def _show(self, frame: Frame) -> None:
                if self.comm is None:  # this view is closed
                    if self._show in self.room.listeners:
                        self.room.listeners.remove(self._show)
                    return
                self.send(frame)
                if not frame["playing"]:
                    self._keep_card()

            def _keep_card(self) -> None:
                sim = self._sim()
                if sim is None:
                    return
                stands = sim.round, len(sim.events), sim.closed
                if stands != self._stood:
                    self._stood, self.card = stands, sim._repr_html_()

            def _repr_mimebundle_(self, **kwargs: Any) -> Any:
                bundle = super()._repr_mimebundle_(**kwargs)
                data, about = bundle if isinstance(bundle, tuple) else (bundle, {})
                return {**(data or {}), "text/html": still(self.card, NO_FRONT)}, about

        _made = Control
    return _made
