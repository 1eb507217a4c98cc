"""The geometry of charts: scales, ticks, thinned curves, and the labels at their ends."""

import re

import numpy as np
import pytest
from pages import algorithm, with_summary

from p2pqg.page import charts
from p2pqg.page.charts import Scale
from p2pqg.page.curves import _horizontal
from p2pqg.page.front import HERE
from p2pqg.page.runs import gather, labels


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.1, 0.92), (0.951, 0.958), (3.0, 3.0), (0.0, 0.0), (-2.0, 7e9), (1e-9, 2e-9)],
)
def test_a_scale_holds_its_values_and_ends_at_its_ticks(low, high):
    scale = Scale.over(np.array([low, high]), log=False)
    shares = scale.shares(np.array([low, high]))
    assert (shares >= -1e-9).all()
    assert (shares <= 1 + 1e-9).all()
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 9
    np.testing.assert_allclose([ticks[0], ticks[-1]], [scale.low, scale.high])
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0])


def test_what_spans_more_than_two_orders_of_magnitude_is_logarithmic():
    assert Scale.over(np.array([1.0, 101.0])).log
    assert not Scale.over(np.array([1.0, 99.0])).log
    assert not Scale.over(np.array([0.0])).log
    decades = Scale.over(np.array([1e-4, 1e-3, 1e3]))
    assert decades.shares(np.array([np.sqrt(1e-4 * 1e3)])) == pytest.approx(0.5)
    assert charts.tick_texts(decades.ticks(), log=True)[0] == "10⁻⁴"


def test_a_logarithmic_axis_has_powers_of_ten_or_where_these_are_few_1_2_and_5():
    few = Scale.over(np.array([0.02, 3.0]), log=True).ticks()
    np.testing.assert_allclose(few, [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2])
    many = Scale.over(np.array([1e-8, 1e8])).ticks()
    np.testing.assert_allclose(many, [1e-8, 1e-4, 1, 1e4, 1e8])


def test_shares_have_ticks_in_percent():
    ticks = charts.ticks_of(Scale.over(np.array([0.1, 0.9]), log=False), 100)
    assert [(tick.at, tick.text) for tick in ticks] == [(p, f"{p}") for p in range(0, 101, 20)]


@pytest.mark.parametrize(
    ("axis", "most", "title", "last"),
    [
        ("round", 40, "rounds", (100, "40")),
        ("bytes_sent", 2.5e6, "MB sent by all clients", (100, "2.5")),
        ("bytes_sent", 800, "B sent by all clients", (100, "800")),
        ("wall_seconds", 1.0, "seconds since the start", (100, "1")),
        ("wall_seconds", 120, "seconds since the start", (83.333, "100")),
        ("sim_seconds", 150, "simulated minutes", (100, "2.5")),
        ("sim_seconds", 10_800, "simulated hours", (100, "3")),
    ],
)
def test_an_axis_below_has_the_unit_that_suits_its_end(axis, most, title, last):
    _, told, ticks = _horizontal(axis, [np.array([most / 3, most])])
    assert told == title
    assert (ticks[0].at, ticks[0].text) == (0, "0")
    assert (ticks[-1].at, ticks[-1].text) == last


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0, 0.25, 0.5], ["0", "0.25", "0.5"]),
        ([0.1 * 3, 12000.0], ["0.3", "12,000"]),
        ([0, 2e6], ["0", "2e+06"]),
    ],
)
def test_ticks_read_well(values, texts):
    assert charts.tick_texts(values) == texts


def test_thinning_keeps_both_ends_and_the_extremes_of_every_stretch():
    y = np.zeros(10_000)
    y[1234], y[4321] = 5.0, -5.0
    kept = charts.thinned(y)
    assert len(kept) <= charts.MOST_POINTS
    assert {0, 1234, 4321, 9999} <= set(kept.tolist())
    assert charts.thinned(y[:500]).tolist() == list(range(500))


def test_labels_keep_their_distance_and_move_no_more_than_they_must():
    assert charts.spread_out([10.0, 50.0], 5) == [10.0, 50.0]
    assert charts.spread_out([50.0, 50.0, 50.0], 5) == [50.0, 55.0, 60.0]
    assert charts.spread_out([99.0, 100.0], 5) == [95.0, 100.0]


def test_the_end_of_a_curve_says_whose_it_is_and_a_line_leads_there(recorded, page_of):
    runs = [recorded(n, last=0.9, **algorithm(n)) for n in ("dsgd", "dsgdm", "qg-dsgdm")]
    from p2pqg.page.curves import ACCURACY, chart

    shown = gather([run.path for run in runs])
    ends = chart(shown, labels(shown), ACCURACY).plots[0].ends
    assert [end.name for end in ends] == ["dsgd", "dsgdm", "qg-dsgdm"]
    assert len({end.height for end in ends}) == 1  # all end at one height,
    assert np.diff(sorted(end.at for end in ends)).min() > 5  # and their texts do not collide
    page = page_of(*runs)
    assert {"dsgd 90.00 %", "dsgdm 90.00 %"} < {text for _, text in page.all("span")}


def test_a_point_and_what_was_done_are_where_so_many_rounds_are_done(recorded):
    from p2pqg.page.curves import LOSS, chart

    told = [{"round": 6, "what": "set_lr 0.2"}, {"round": 0, "what": "set_lr 0.1"}]
    run = with_summary(recorded("a"), events=told)
    shown = gather([run.path])
    plots = {plot.axis: plot for plot in chart(shown, labels(shown), LOSS).plots}
    sent = run.rounds.set_index("round")["bytes_sent"]
    after_six = {"round": 6, "bytes_sent": sent[5]}  # rounds count from 0
    for axis, at in after_six.items():
        spots = [mark.path for mark in plots[axis].marks if mark.kind == "event"]
        share = at / plots[axis].x.high
        assert spots == [f"M0 0V{charts.SIZE}", f"M{round(charts.SIZE * share)} 0V{charts.SIZE}"]
    assert plots["round"].x.high == 10  # rounds, all of which are drawn


def test_the_y_axis_can_zoom_to_where_runs_differ(recorded, page_of):
    runs = [recorded(n, last=a, **algorithm(n)) for n, a in (("dsgd", 0.9), ("dsgdm", 0.92))]
    runs.append(recorded("diverged", last=0.1, **algorithm("qg-dsgdm")))
    from p2pqg.page.curves import ACCURACY, chart

    shown = gather([run.path for run in runs])
    whole, close = chart(shown, labels(shown), ACCURACY).plots[:2]
    assert (whole.zoomed, close.zoomed) == (False, True)
    assert whole.y.low <= 0.1
    late = [0.9 * 6 / 10, 0.92]  # of the second half, without the run that came to nothing
    assert late[0] - 0.1 < close.y.low <= late[0]  # round ends
    assert late[1] <= close.y.high < late[1] + 0.1
    assert page_of(*runs).all("input", id="closer")
    assert not page_of(runs[0]).all("input", id="closer")


def brightness(rgb):
    """Relative luminance, as of WCAG 2."""
    rgb = np.asarray(rgb) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_names_at_the_ends_of_curves_can_be_read_in_every_color():
    """Sky blue on white had a contrast of 2.3; letters need 4.5."""
    sheet = (HERE / "style.css").read_text(encoding="utf-8")
    share = (
        int(re.search(r"color-mix\(in srgb, var\(--own\) (\d+)%, var\(--ink\)\)", sheet)[1]) / 100
    )
    light, dark = (
        dict(re.findall(r"--([\w-]+): #(\w+);", part)) for part in sheet.split("@media")[:2]
    )
    for sheet in (light, dark):
        colors = {
            name: np.array(
                [
                    int(digit * (6 // len(text)), 16)
                    for digit in re.findall("." * (len(text) // 3), text)
                ]
            )
            for name, text in sheet.items()
        }
        for number in range(7):
            letters = brightness(share * colors[f"s{number}"] + (1 - share) * colors["ink"])
            low, high = sorted([letters, brightness(colors["ground"])])
            assert (high + 0.05) / (low + 0.05) > 4.5, (number, letters)
