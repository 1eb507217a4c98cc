"""The widget without a browser: it passes on what it is told, and has a card for all else."""

import sys

import pytest

import p2pqg
from p2pqg.control.widget import NO_FRONT, NO_PACKAGE, networks_of
from p2pqg.page import front

SETTINGS = {"topology": "ring8", "rounds": 6, "engine": "local"}


def test_without_the_package_there_is_the_card_and_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with p2pqg.Simulation(**SETTINGS) as sim:
        html = sim.control()._repr_html_()
        assert html.startswith(sim._repr_html_()[:200])
        assert NO_PACKAGE.replace("'", "&#x27;") in html
        assert "p2pqg[notebooks]" in repr(sim.control())
        assert sim.control().room is sim.room


def test_a_closed_simulation_has_no_control_room():
    sim = p2pqg.Simulation(**SETTINGS)
    sim.close()
    with pytest.raises(p2pqg.ConfigError, match="control: this simulation is closed"):
        sim.control()


def test_two_widgets_have_one_room_and_a_fork_has_its_own():
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    with p2pqg.Simulation(**SETTINGS) as sim, sim.fork() as fork:
        one, two = sim.control(), sim.control()
        assert one.room is two.room is sim.room
        assert fork.control().room is not one.room
        sent = []
        two.send = sent.append
        one._asked(one, {"do": "play", "rounds": 3}, [])
        assert one.room.wait(30)
        assert sim.round == 3
        assert sent[-1]["branches"][0]["round"] == 3
        data, _ = one._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in data
        assert "round" in data["text/html"]
        assert NO_FRONT in data["text/html"]
        assert one.card == sim._repr_html_()


def test_clients_that_do_not_wait_are_not_offered_lies():
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    own = {"algorithm": "ad-psgd", "network": {"compute": "1 s"}}
    with p2pqg.Simulation(**SETTINGS) as sim, p2pqg.Simulation(**SETTINGS | own) as other:
        assert "sign-flip" in sim.control().attacks
        assert other.control().attacks == []


def test_networks_of_that_size_are_offered():
    assert {"ring7", "complete7", "star7"} <= set(networks_of(7))
    assert "torus7" not in networks_of(7)
    assert "torus16" in networks_of(16)


def test_the_sheet_has_no_gaps_and_the_script_reaches_no_network():
    sheet, script = front.style(), front.script()
    for word in ("DARK", "LIGHT", "url(", "@import"):
        assert word not in sheet
    assert '[data-jp-theme-light="false"] .p2pqg-room' in sheet
    for word in ("fetch(", "http", "XMLHttpRequest", "import(", "eval("):
        assert word not in script
