"""Drawings show the numbers they were given, and are files a printer takes."""

import networkx as nx
import numpy as np
import pandas as pd
import pytest

import p2pqg
from p2pqg.base.errors import ConfigError
from p2pqg.data import label_counts
from p2pqg.plots import (
    draw_clients,
    draw_consensus,
    draw_curves,
    draw_label_dots,
    draw_network,
    draw_networks,
    draw_points,
    draw_shards,
    draw_spread,
)
from p2pqg.plots.canvas import BLUE, COLORS, FAINT, GRAY, VERMILLION, apart, colors_of
from p2pqg.theory.consensus import average_consensus
from p2pqg.topology import build
from p2pqg.topology.convergence import rounds_to
from p2pqg.topology.drawing import places

LABELS = np.arange(400) % 10
PARTS = p2pqg.partition("dirichlet", LABELS, 4, alpha=0.5, seed=1)


def history(*accuracies):
    rounds = np.arange(len(accuracies)) * 5
    return pd.DataFrame(
        {"round": rounds, "test_accuracy": accuracies, "bytes_sent": rounds * 2_000_000}
    )


def lines(figure):
    return figure.axes[0].get_lines()


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
@pytest.mark.parametrize(
    "names", [["star9"], ["onepeer-exponential8"], ["ring4", "exponential8", "random-peer8"]]
)
def test_drawings_are_written(tmp_path, names, suffix):
    path = tmp_path / f"networks.{suffix}"
    draw_networks(
        [build(name, allow_row_stochastic=True, needs=("column-stochastic",)) for name in names],
        path,
    )
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml", b"%PDF-")


@pytest.mark.parametrize("suffix", ["svg", "pdf"])
def test_the_same_drawing_is_the_same_file(tmp_path, suffix):
    paths = [tmp_path / f"{n}.{suffix}" for n in (1, 2)]
    for path in paths:
        draw_curves({"dsgd": history(0.1, 0.5), "qg-dsgdm": history(0.2, 0.6)}, save=path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_fonts_in_a_pdf_are_not_of_type_3(tmp_path):
    draw_curves({"a": history(0.1, 0.5)}, save=tmp_path / "a.pdf")
    assert b"/Type3" not in (tmp_path / "a.pdf").read_bytes()


def test_other_suffixes_and_places_that_cannot_be_written_are_refused(tmp_path):
    both = average_consensus("ring8", 20, quasi_global=False), average_consensus("ring8", 20)
    with pytest.raises(ConfigError, match="must end in .png, .svg, .pdf, got 'curves.txt'"):
        draw_consensus({"ring8": both}, "QG", tmp_path / "curves.txt")
    with pytest.raises(ConfigError, match="cannot be written"):
        draw_consensus({"ring8": both}, "QG", tmp_path / "nowhere" / "curves.png")


def test_a_notebook_shows_a_figure():
    assert draw_curves({"a": history(0.1, 0.5)})._repr_png_()[:4] == b"\x89PNG"


def test_a_method_has_its_own_color_where_that_tells_methods_apart():
    assert colors_of(["qg-dsgdm-n", "dsgdm-n", "dsgd"]) == [BLUE, VERMILLION, GRAY]
    assert colors_of(["dsgd ring16", "dsgd social32"]) == list(COLORS[:2])
    assert colors_of(["mine", "dsgd"]) == list(COLORS[:2])


def test_labels_keep_their_places_where_there_is_room_and_are_pushed_apart_evenly_where_not():
    np.testing.assert_allclose(apart([0.9, 0.1, 0.5], 0.1), [0.9, 0.1, 0.5])
    np.testing.assert_allclose(apart([0.3, 0.3, 0.3, 0.9], 0.1), [0.2, 0.3, 0.4, 0.9])


def test_a_curve_is_the_column_it_was_given():
    figure = draw_curves({"dsgd": history(0.1, 0.5, 0.7)}, x="bytes_sent")
    (line,) = lines(figure)
    np.testing.assert_allclose(line.get_xdata(), [0, 10_000_000, 20_000_000])
    np.testing.assert_allclose(line.get_ydata(), [0.1, 0.5, 0.7])
    assert figure.axes[0].get_xlabel() == "sent by all clients (MB)"
    assert figure.axes[0].get_ylabel() == "test accuracy (%)"


def test_several_seeds_are_their_mean_and_a_band_from_the_lowest_to_the_highest():
    figure = draw_curves({"dsgd": [history(0.1, 0.4), history(0.3, 0.8)]})
    np.testing.assert_allclose(lines(figure)[0].get_ydata(), [0.2, 0.6])
    (band,) = figure.axes[0].collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0.1, 0.8)


def test_a_mean_over_seeds_ends_where_the_first_seed_does():
    """A seed that diverged would else leave a mean of those that did well."""
    (line,) = lines(draw_curves({"dsgd": [history(0.1, 0.4, 0.9), history(0.3, 0.8)]}))
    np.testing.assert_allclose(line.get_ydata(), [0.2, 0.6])
    with pytest.raises(
        ConfigError, match="must be measured in one round of all its runs, and was in none"
    ):
        draw_curves({"dsgd": [history(0.1, np.nan), history(np.nan, 0.2)]})
    with pytest.raises(ConfigError, match="was not measured in 1 of its 2 runs; draw them one by"):
        draw_curves({"dsgd": [history(0.1, 0.4), history(np.nan, np.nan)]})


def test_rounds_that_were_not_measured_are_left_out():
    (line,) = lines(draw_curves({"dsgd": history(0.1, np.nan, 0.7)}))
    assert line.get_xdata().tolist() == [1, 11]  # rounds done


def test_curves_are_named_at_their_ends_or_in_a_legend_where_they_are_many():
    few = draw_curves({name: history(0.1, 0.5) for name in "abc"})
    assert texts(few) == ["a", "b", "c"]
    many = draw_curves({str(n): history(0.1, n / 20) for n in range(12)})
    assert not texts(many)
    assert len(many.axes[0].get_legend().get_texts()) == 12
    assert len({(line.get_color(), line.get_linestyle()) for line in lines(many)}) == 12


@pytest.mark.parametrize(
    ("histories", "column", "complaint"),
    [
        ({}, "test_accuracy", "at least one history"),
        ({"a": history(0.1)}, "test_acuracy", "a: no column 'test_acuracy'; did you mean test_acc"),
        ({"a": history(np.nan)}, "test_accuracy", "a: test_accuracy was not measured"),
    ],
)
def test_histories_that_cannot_be_drawn_are_refused(histories, column, complaint):
    with pytest.raises(ConfigError, match=complaint):
        draw_curves(histories, y=column)


def test_the_spread_is_the_mean_the_middle_half_and_all_of_the_clients():
    frame = pd.DataFrame(
        {
            "round": np.repeat([10, 20], 5),
            "client": np.tile(np.arange(5), 2),
            "test_accuracy": [0.0, 0.1, 0.2, 0.3, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5],
        }
    )
    figure = draw_spread({"dsgd": frame})
    np.testing.assert_allclose(lines(figure)[0].get_xydata(), [[11, 0.3], [21, 0.5]])
    everyone, half = (band.get_paths()[0].vertices[:, 1] for band in figure.axes[0].collections)
    assert (everyone.min(), everyone.max()) == (0.0, 0.9)
    assert (half.min(), half.max()) == pytest.approx((0.1, 0.5))
    with pytest.raises(ConfigError, match="at least one run"):
        draw_spread({})


def test_clients_that_are_away_are_hollow_and_cut_links_dashed():
    figure = draw_network(build("ring8"), np.arange(8.0), absent=[3], cut_links=[(5, 6)])
    links, loose, cut, here, away = figure.axes[0].collections
    assert [len(each.get_segments()) for each in (links, loose, cut)] == [5, 2, 1]
    assert here.get_array().tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert len(away.get_offsets()) == 1
    assert texts(figure) == [str(client) for client in range(8)]


def test_who_was_not_measured_is_gray_and_that_is_said():
    accuracy = np.array([0.5, np.nan, 0.7])
    figure = draw_network(build("ring3"), accuracy, label="test accuracy")
    colored = figure.axes[0].collections[-2]
    assert colored.get_clim() == (0.5, 0.7)
    assert len(colored.get_offsets()) == 3
    gray = [int(FAINT[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    assert colored.to_rgba(np.nan)[:3] == pytest.approx(gray)
    assert figure.axes[0].get_xlabel() == "gray: not measured"
    nobody = draw_network(build("ring3"), np.full(3, np.nan), label="test accuracy")
    assert [ax.get_xlabel() for ax in nobody.axes] == ["test accuracy: not measured"]
    assert not draw_network(build("ring3"), accuracy, absent=[1]).axes[0].get_xlabel()


def test_clients_have_their_own_names_if_these_are_given():
    assert texts(draw_network(build("ring3"), labels="abc")) == ["a", "b", "c"]
    network = build("florentine15")
    assert texts(draw_network(network, labels=network.labels)) == list(network.labels)


def test_a_cut_link_is_shown_even_where_the_network_no_longer_has_it():
    figure = draw_network(build("ring8"), cut_links=[(0, 4)])
    assert len(figure.axes[0].collections[2].get_segments()) == 1


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"values": [1.0]}, "values must be one for each of 8 clients, got 1"),
        ({"labels": ["a"]}, "labels must be one for each of 8 clients, got 1"),
        ({"absent": [8]}, "client 8 is not in ring8, which has 0 to 7"),
        ({"cut_links": [(0, -1)]}, "client -1 is not in ring8"),
    ],
)
def test_what_does_not_fit_the_network_is_refused(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        draw_network(build("ring8"), **settings)


def test_the_area_of_a_dot_is_the_number_of_samples():
    dots = draw_label_dots({"one": PARTS, "two": PARTS}, LABELS).axes[1].collections[0]
    counts = label_counts(PARTS, LABELS, 10)
    areas = dots.get_sizes().reshape(counts.shape)
    np.testing.assert_allclose(areas / areas.max(), counts / counts.max())


def test_panels_of_label_dots_have_room_for_the_network_with_the_most_clients():
    figure = draw_label_dots({"few": PARTS[:2], "all": PARTS}, LABELS)
    for ax in figure.axes[:2]:
        assert ax.get_xlim()[1] > len(PARTS) - 1
    for draw in (draw_label_dots, draw_shards):
        with pytest.raises(ConfigError, match="must have samples, got none"):
            draw([PARTS[0][:0]], LABELS)


def test_shards_are_a_bar_for_each_class_of_each_client():
    figure = draw_shards(PARTS, LABELS)
    heights = [[bar.get_height() for bar in ax.patches] for ax in figure.axes]
    assert heights == label_counts(PARTS, LABELS, 10).tolist()


def test_of_very_many_clients_the_first_are_drawn_and_that_is_said():
    parts = np.array_split(np.arange(400), 20)
    figure = draw_shards(parts, LABELS, most=6)
    assert figure.get_suptitle() == "the first 6 of 20 clients"
    assert sum(bool(ax.patches) for ax in figure.axes) == 6
    with pytest.raises(ConfigError, match="most must be a whole number >= 1, got -1"):
        draw_shards(parts, LABELS, most=-1)


def test_consensus_says_in_which_round_the_critical_distance_is_reached():
    both = average_consensus("ring16", 60, quasi_global=False), average_consensus("ring16", 60)
    figure = draw_consensus({"ring16": both}, "QG")
    assert texts(figure) == [str(rounds_to(path, 1e-2)) for path in both]
    assert figure.axes[0].get_title() == "ring16"
    np.testing.assert_allclose(lines(figure)[1].get_ydata(), both[0] / both[0][0])
    unreached = draw_consensus({"ring16": both}, "QG", critical=1e-30)
    assert not texts(unreached)


def test_marks_are_lines_with_words_and_only_lines_where_they_are_many():
    few = draw_curves({"a": history(0.1, 0.5)}, marks={2: "cut", 3: "x" * 99})
    assert [line.get_xdata()[0] for line in lines(few)[1:]] == [2, 3]
    assert texts(few)[0] == "cut"
    assert len(texts(few)[1]) < 50
    many = draw_curves({"a": history(0.1, 0.5)}, marks={x: "cut" for x in range(9)})
    assert len(lines(many)) == 1 + 9
    assert texts(many) == []


def test_clients_that_differ_most_between_runs_are_on_top():
    values = pd.DataFrame({"a": [0.5, 0.5, 0.5, None], "b": [0.6, 0.1, 0.5, None]})
    figure = draw_clients(values)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["2", "0", "1"]
    assert lines(figure)[1].get_xdata().tolist() == [0.5, 0.6, 0.1]
    spans = [segment[:, 0].tolist() for segment in figure.axes[0].collections[0].get_segments()]
    assert spans == [[0.5, 0.5], [0.5, 0.6], [0.1, 0.5]]  # from the lowest to the highest
    assert figure.axes[0].get_title() == ""
    for label, half in (("test_accuracy", "50"), ("difference", "50"), ("distance_to_mean", "0.5")):
        axis = draw_clients(values, label).axes[0].xaxis
        assert axis.get_major_formatter().format_ticks([0.1, 0.5])[1] == half
    assert draw_clients(values, most=2).axes[0].get_title() == (
        "2 of 3 clients, those that differ most"
    )
    with pytest.raises(ConfigError, match="at least one run with clients"):
        draw_clients(values.iloc[3:])
    far = draw_clients(values.replace(0.6, np.inf))  # of a run that diverged
    assert [dots.get_xdata().tolist() for dots in lines(far)] == [
        pytest.approx([0.5, 0.5, 0.5]),
        pytest.approx([0.5, np.nan, 0.1], nan_ok=True),
    ]
    with pytest.raises(ConfigError, match="most must be a whole number >= 1, got 0"):
        draw_clients(values, most=0)


def test_points_are_where_the_numbers_say_and_named_where_asked():
    frame = pd.DataFrame(
        {"x": [1, 2, 3], "y": [4, 5, None], "of": list("aab"), "text": ["", "N", ""]}
    )
    figure = draw_points(frame, "x", "y", by="of", text="text")
    (dots,) = lines(figure)
    assert dots.get_xdata().tolist() == [1, 2]
    assert dots.get_ydata().tolist() == [4, 5]
    assert texts(figure) == ["N"]
    with pytest.raises(ConfigError, match="no column 'z'"):
        draw_points(frame, "x", "z", by="of")
    with pytest.raises(ConfigError, match="needs rows with x and y, got none"):
        draw_points(frame[2:], "x", "y", by="of")


def test_a_line_through_points_goes_through_the_means_of_their_seeds():
    frame = pd.DataFrame({"x": [1, 1, 2], "y": [2.0, 4.0, 8.0], "of": None})  # a group, too
    figure = draw_points(frame, "x", "y", by="of", lines=True, log="xy")
    assert lines(figure)[0].get_ydata().tolist() == [3.0, 8.0]
    low, high = np.ptp(figure.axes[0].collections[0].get_paths()[0].vertices, axis=0)
    assert (low, high) == (1.0, 6.0)  # from x = 1 to 2, from y = 2 to 8
    assert figure.axes[0].get_xscale() == figure.axes[0].get_yscale() == "log"


# Nothing hides anything


def boxes(figure, artists):
    figure.draw_without_rendering()
    return [artist.get_window_extent() for artist in artists]


def overlaps(some) -> int:
    return sum(one.overlaps(other) for k, one in enumerate(some) for other in some[:k])


@pytest.mark.parametrize("name", ["florentine15", "office-wan8", "social32", "karate34", "star9"])
def test_names_of_clients_do_not_lie_on_each_other(name):
    network = build(name)
    figure = draw_networks([network])
    shown = texts(figure)
    assert shown in (list(network.labels), [str(k) for k in range(network.num_clients)])
    assert overlaps(boxes(figure, figure.axes[0].texts)) == 0


def test_where_there_is_no_room_for_names_clients_have_numbers():
    crowd = nx.relabel_nodes(nx.path_graph(30), lambda k: f"a client with the number {k}")
    assert texts(draw_networks([build(crowd)])) == [str(k) for k in range(30)]
    few = nx.relabel_nodes(nx.path_graph(3), lambda k: f"client-{k}")
    assert texts(draw_networks([build(few)])) == ["client-0", "client-1", "client-2"]


def test_colors_of_degrees_are_explained():
    (star, ring) = draw_networks([build("star9"), build("ring9")]).axes
    assert [text.get_text() for text in star.get_legend().get_texts()] == ["degree", "1", "8"]
    assert ring.get_legend() is None
    assert ring.get_xlabel() == "degree 2"
    (many,) = draw_networks([build("lesmis77")]).axes
    shown = [int(text.get_text()) for text in many.get_legend().get_texts()[1:]]
    assert len(shown) == 5
    assert (shown[0], shown[-1]) == (1, 36)


@pytest.mark.parametrize(
    "name", ["lesmis77", "karate34", "star32", "social-tree32", "binary-tree64"]
)
def test_no_client_lies_on_another(name):
    spots = places(build(name))
    far = np.linalg.norm(spots[:, None] - spots[None], axis=-1) + 9 * np.eye(len(spots))
    assert far.min() > 0.5 / len(spots) ** 0.5
    assert np.abs(spots).max() <= 1


def test_consensus_has_its_legend_and_numbers_where_they_hide_nothing():
    names = ["ring16", "social32", "complete8", "star16"]
    paths = {
        name: (average_consensus(name, 100, quasi_global=False), average_consensus(name, 100))
        for name in names
    }
    figure = draw_consensus(paths, "QG")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["gossip", "QG"]
    assert overlaps(boxes(figure, [legend, *figure.axes])) == 0
    for ax in figure.axes:
        assert len(ax.texts) == 2
        written = boxes(figure, ax.texts)
        assert overlaps(written) == 0
        assert all(ax.bbox.contains(*corner) for box in written for corner in (box.min, box.max))


def test_a_network_that_agrees_at_once_is_drawn_with_both_its_dots():
    both = [average_consensus("complete8", 20, quasi_global=form) for form in (False, True)]
    ax = draw_consensus({"complete8": tuple(both)}, "QG").axes[0]
    assert ax.get_xlim() == (0, 20)
    _, gossip, momentum, *dots = ax.get_lines()
    assert np.isfinite(gossip.get_ydata()[:2]).all()  # down to the bottom, and no further
    assert np.isnan(momentum.get_ydata()[2:]).all()
    assert [dot.get_xydata().tolist() for dot in dots] == [[[1, 0.01]], [[1, 0.01]]]
    first, second = (dot.get_transform().transform((1, 0.01)) for dot in dots)
    assert second[0] - first[0] >= 3
    assert [text.get_text() for text in ax.texts] == ["1", "1"]


def test_dots_that_coincide_lie_side_by_side():
    frame = pd.DataFrame({"x": [1, 1, 1, 2], "y": [5.0, 5.0, 5.0, 6.0], "of": list("aabb")})
    (ax,) = draw_points(frame, "x", "y", by="of").axes
    spots = [
        tuple(line.get_transform().transform(spot).round())
        for line in ax.get_lines()
        for spot in line.get_xydata()
    ]
    assert len(set(spots)) == len(frame)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_runs_in_which_a_client_is_alike_lie_above_each_other():
    values = pd.DataFrame({"a": [0.5, 0.1], "b": [0.5, 0.9], "c": [0.5, None]})
    a, b, c = lines(draw_clients(values))
    heights = [line.get_ydata().tolist() for line in (a, b, c)]
    assert [height[0] for height in heights] == [-0.25, 0, 0.25]
    assert [height[1] for height in heights] == [1, 1, 1]
