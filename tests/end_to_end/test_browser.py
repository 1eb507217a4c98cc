"""The control room in a real browser: what is clicked there is done, seen, and saved."""

import re
import threading
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from browser import Shown, a_page, chromium

import p2pqg
from p2pqg.control.room import Room
from p2pqg.page import write_page
from p2pqg.page.replay import Replay
from p2pqg.recipe.settings import recipe
from p2pqg.running.watch import serving

SETTINGS = {
    "topology": "ring8",
    "alpha": 0.1,
    "rounds": 100,
    "engine": "local",
    "eval_every": 5,
    "network": {"compute": "1 s"},
}


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def sim():
    with p2pqg.Simulation(**SETTINGS) as sim:
        yield sim


def clicks(shown):
    """Twenty kinds of things that a person can do; each is tried once or more."""
    box = {"at": 0}

    def client():
        box["at"] = (box["at"] + 3) % 8
        return box["at"]

    return {
        "cut": lambda: shown.click_link(k := client(), (k + 1) % 8),
        "leave": lambda: shown.click_client(client(), "Leave"),
        "back": lambda: _return(shown, "with its neighbors' average"),
        "stale": lambda: _return(shown, "as it left"),
        "lie": lambda: shown.click_client(_honest(shown), "Lie: sign-flip"),
        "honest": lambda: _be_honest(shown),
        "slow": lambda: shown.click_client(_here(shown), "Slow down to 10 %"),
        "new link": lambda: shown.drag(*_apart(shown)),
        "lr": lambda: shown.slide("step size", -1.3),
        "loss": lambda: shown.slide("messages lost", 0.1),
        "beta": lambda: shown.fill("its value", "0.7"),
        "network": lambda: shown.fill("another network", "exponential8"),
        "one": lambda: shown.press("play one round"),
    }


def _network(shown):
    return shown.room.branches[0].sim.network


def _here(shown):
    return next(c for c in range(8) if c not in _network(shown).absent)


def _honest(shown):
    lying = {c for attack in _network(shown).attacks for c in attack.who}
    return next(c for c in range(7, 0, -1) if c not in _network(shown).absent | lying)


def _be_honest(shown):
    for attack in _network(shown).attacks:
        shown.click_client(attack.who[0], "Be honest again")
        return


def _return(shown, how):
    for client in _network(shown).absent:
        shown.click_client(client, f"Return {how}")
        return


def _apart(shown):
    graph = _network(shown).base.graph(0)
    return next((a, b) for a in (2, 5, 0) for b in range(8) if a != b and not graph.has_edge(a, b))


def test_twenty_random_clicks_saved_as_a_recipe_give_the_same_parameters(browser, sim, tmp_path):
    rng, path = np.random.default_rng(7), tmp_path / "clicked.yaml"
    with a_page(browser) as page:
        shown = Shown(page, Room(sim))
        page.get_by_label("rounds to play").fill("3")
        shown.press("play that many rounds")
        known = clicks(shown)
        order = [*rng.permutation(list(known)), *rng.choice(list(known), 20 - len(known))]
        for name in order:
            known[str(name)]()
            shown.press("play that many rounds")
        shown.page.get_by_label("file of the recipe").fill(str(path))
        shown.press("write all that was done as a recipe")
        assert "repeats it" in shown.sentence
    done = {key for item in sim.interventions for key in item} - {"round"}
    assert len(sim.interventions) >= 10
    assert done >= {"drop_clients", "add_links", "set_lr", "set_network", "set_topology", "attack"}
    saved = recipe(path)
    assert saved["rounds"] == sim.round >= 63
    with p2pqg.Simulation(**saved) as again:
        again.finish()
        assert np.array_equal(sim.parameters(), again.parameters())


def test_only_a_click_acts_and_a_drag_ends_where_it_began(browser, sim):
    with a_page(browser) as page:
        shown = Shown(page, Room(sim))
        shown.press("play one round")
        shown.press("fork the chosen network")
        box, twin = shown.canvas(0).bounding_box(), shown.canvas(1).bounding_box()
        mouse, at = page.mouse, lambda box, spot: (box["x"] + spot[0], box["y"] + spot[1])
        middle = tuple((p + q) / 2 for p, q in zip(shown.spot(0, 1), shown.spot(1, 1), strict=True))
        for start, end in (
            (at(box, shown.spot(0)), at(twin, middle)),  # from a client to a link of the fork
            (at(box, (4, 4)), at(box, middle)),  # from nowhere to a link
        ):
            mouse.move(*start)
            mouse.down()
            mouse.move(*end, steps=3)
            mouse.up()
            shown.settle()
        mouse.click(*at(box, middle), button="right")  # a menu of the browser
        shown.settle()
        assert [one.sim.interventions for one in shown.room.branches] == [[], []]
        shown.click_link(3, 4)  # nothing of that is left
        assert sim.interventions == [{"round": 1, "drop_links": [[3, 4]]}]


def test_every_action_has_a_key_and_a_name(browser, sim):
    with a_page(browser, width=768, dark=True) as page:
        shown = Shown(page, Room(sim))
        room = shown.room
        shown.canvas().focus()
        shown.key(".")
        shown.key(".")
        assert sim.round == 2
        shown.key("n")
        assert sim.round == 12
        for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
            shown.key(key)
        shown.key("Enter")  # the first link of client 2
        assert [list(item) for item in sim.interventions] == [["round", "drop_links"]]
        assert ", cut" in page.locator(".unseen").inner_text()
        shown.key("Enter")
        assert not sim.network.cut
        shown.key("u")
        assert sim.network.cut
        assert "before the last action" in shown.sentence
        shown.key("f")
        assert len(room.branches) == 2
        shown.canvas().focus()
        shown.key("ArrowLeft")
        shown.key("Enter")
        page.get_by_role("menuitem", name="Leave", exact=True).wait_for()
        shown.key("Escape")
        assert page.locator("[role=menu]").is_hidden()
        for one in page.locator("button, input, select, canvas").all():
            if one.is_visible():
                name = one.evaluate(
                    "e => e.getAttribute('aria-label') || e.textContent || e.labels[0].textContent"
                )
                assert name, one.evaluate("e => e.outerHTML")
        shown.key("Space")
        assert sim.round == 100


def test_the_past_is_seen_and_one_goes_back_or_forks_from_it(browser, sim):
    with a_page(browser) as page:
        shown = Shown(page, Room(sim))
        for _ in range(3):
            shown.press("play that many rounds")
        moments = shown.room.branches[0].moments.rounds
        slider = page.get_by_label("look at a moment of the past")
        slider.fill(str(moments.index(10)))
        page.wait_for_timeout(200)
        shown.settle()
        assert "as it was after round 10" in page.locator("section.network header").inner_text()
        shown.press("fork the chosen network")
        assert [branch.sim.round for branch in shown.room.branches] == [30, 10]
        slider.first.fill(str(moments.index(20)))
        page.wait_for_timeout(200)
        shown.settle()
        shown.press("go back to this moment; what was later is forgotten")
        assert sim.round == 20


def test_two_views_of_one_room_both_show_and_either_acts(browser, sim):
    with a_page(browser) as page:
        shown = Shown(page, Room(sim))
        frames = []
        shown.room.listeners.append(frames.append)  # the other one
        shown.press("play that many rounds")
        shown.room.act({"do": "verb", "branch": 0, "verb": "set_lr", "given": {"lr": 0.02}})
        shown.click_link(0, 1)
        assert [list(item)[1] for item in sim.interventions] == ["set_lr", "drop_links"]
        assert re.search(r"round 10.*1 link down", page.locator("header").inner_text())
        assert frames[-1]["branches"][0]["cut"] == [[0, 1]]
        assert page.locator("output").all_inner_texts().count("0.02") == 1
        shown.room.act({"do": "show", "links": "bytes"})
        shown.settle()
        assert page.get_by_label("links").first.input_value() == "bytes"


def test_what_is_refused_is_one_sentence_and_paper_gets_the_card(browser, sim):
    with a_page(browser) as page:
        shown = Shown(page, Room(sim))
        shown.fill("another network", "ring7")
        assert "set_topology: 'ring7' has 7 clients" in shown.sentence
        assert page.locator(".sentence.wrong").count() == 1
        sim.close()
        shown.press("play one round")
        assert shown.sentence.startswith("this simulation is closed")
        page.emulate_media(media="print")
        assert page.get_by_text("the card").is_visible()
        assert page.locator(".p2pqg-room").is_hidden()


def test_a_thousand_clients_are_drawn_in_a_frame(browser, tmp_path):
    toy = {"name": "synthetic", "samples": 4000, "features": 4, "classes": 2}
    settings = {"dataset": toy, "model": {"name": "mlp", "hidden": [4]}, "engine": "local"}
    with (
        p2pqg.Simulation(topology="ring1000", rounds=4, **settings) as sim,
        a_page(browser) as page,
    ):
        shown = Shown(page, Room(sim))
        shown.press("play one round")
        page.evaluate("window.took = performance.now()")
        for _ in range(10):
            page.evaluate("dispatchEvent(new Event('resize'))")
            page.evaluate("document.body.classList.toggle('again')")  # as a theme that changes
            page.evaluate("() => new Promise((done) => requestAnimationFrame(() => done()))")
        took = page.evaluate("(performance.now() - window.took) / 10")
        assert took < 200, f"{took:.0f} ms"
        rows = [
            [n + 1, 0, 0, n / 8200 if n % 10 == 9 else None, 0, 0, 1, 1] for n in range(4105)
        ]  # of very many the page keeps every second one, evaluations among them
        frame = shown.room.frame()
        frame["branches"][0]["points"] = {"from": 0, "rows": rows}
        page.evaluate("(frame) => fromKernel(frame)", frame)
        page.wait_for_timeout(100)
        told = page.locator("figure:has-text('Test accuracy') canvas").get_attribute("aria-label")
        assert told == "A: 50.0 % after round 4,100"


SCENARIO = [
    {"at": "round 6", "drop_links": ["0-1"]},
    {"at": "round 12", "drop_clients": [5]},
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = str(tmp_path_factory.mktemp("runs"))
    settings = {**SETTINGS, "rounds": 20, "scenario": SCENARIO}
    return p2pqg.run(**settings, out=out, name="one")


def seen_at_every_moment(page):
    """What the page says of the network, from its first moment to its last."""
    slider, header = page.get_by_label("go through the rounds"), "section.network header"
    slider.wait_for()
    assert slider.get_attribute("max") == "3"
    said = []
    for at, rounds in enumerate((5, 10, 15, 20)):
        slider.fill(str(at))
        page.locator(header, has_text=re.compile(rf"round {rounds}\b")).wait_for()
        said.append(page.locator(header).inner_text())
    return said


def check_moments(said):
    assert ["link down" in one for one in said] == [False, True, True, True]
    assert ["client absent" in one for one in said] == [False, False, True, True]


@contextmanager
def watched(browser, run):
    """The page of `p2pqg watch` in a browser."""
    with serving([run.path]) as (address, server):
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            with a_page(browser) as page:
                page.goto(address)
                yield page
        finally:
            server.shutdown()
            thread.join()


def test_a_watched_run_is_seen_at_every_moment(browser, run):
    with watched(browser, run) as page:
        check_moments(seen_at_every_moment(page))
        page.route("**/frames*", lambda route: route.abort())  # as when the server has ended
        page.get_by_role("alert").wait_for()
        assert "how it stood last" in page.get_by_role("alert").inner_text()
        page.errors.clear()


def test_a_watched_run_with_a_clock_has_links_as_wide_as_their_traffic(browser, run):
    frame = Replay(0, run.path, "one").frame()
    scene, table = frame["scene"], run.path / "links.parquet"
    sent = pd.read_parquet(table).set_index(["sender", "receiver"])["bytes"]
    assert frame["traffic"] == [sent[a, b] + sent[b, a] for a, b in scene["links"]]
    assert frame["traffic"][scene["links"].index([0, 1])] < max(frame["traffic"])  # it was cut
    assert Replay(0, run.path, "one").frame(round=10)["traffic"] is None
    with watched(browser, run) as page:
        page.locator("section.network canvas").first.wait_for()
        page.get_by_label("links").first.select_option("bytes")


def test_a_report_goes_through_the_rounds_by_itself(browser, run, tmp_path):
    file = write_page([run.path], tmp_path / "report.html")
    with a_page(browser, dark=True) as page:
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        check_moments(seen_at_every_moment(page))
        assert asked == [file.as_uri()]


def test_a_report_on_runs_with_long_names_fits_a_phone(browser, tmp_path):
    runs = [
        p2pqg.run(
            topology="ring4",
            rounds=2,
            engine="local",
            out=tmp_path,
            lr=lr,
            name=f"{'long-name-' * 9}{lr}",
        )
        for lr in (0.1, 0.2)
    ]
    runs += [p2pqg.run(topology="ring4", rounds=4, engine="local", out=tmp_path, name="b" * 70)]
    path = write_page([run.path for run in runs], tmp_path / "page.html")
    with a_page(browser, width=390, dark=True) as page:
        page.goto(path.as_uri())
        assert "long-name-long-name" in page.locator("body").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        box = page.locator(".box[data-measure=train_loss]").first
        box.hover(position={"x": box.bounding_box()["width"] - 2, "y": 20})
        when, *values = page.locator(".tip div").all_inner_texts()
        ends = [f"{run.rounds['train_loss'].iloc[-1]:.3g}" for run in runs]
        told = [f"{end}, after round 2" for end in ends[:2]] + ends[2:]  # where that is not `when`
        assert when == "after round 4"
        assert {text.splitlines()[-1] for text in values} == {*told}
