"""The doctor's numbers against closed forms, and what it says of the sick."""

import json

import networkx as nx
import numpy as np
import pytest

from p2pqg.cli import main
from p2pqg.theory.consensus import average_consensus
from p2pqg.theory.doctor import TARGETS, admit, diameter, examine, expected_gap
from p2pqg.theory.doctor_text import sheet, table
from p2pqg.topology.convergence import rounds_to
from p2pqg.topology.drawing import picture, places

SAID = [
    "ring3",
    "ring16",
    "ring17",
    "chain9",
    "star12",
    "complete5",
    "torus12",
    "torus16",
    "torus15",
    "hypercube8",
    "exponential12",
    "exponential16",
    "mix9:rho=0.3",
    "base10",
    "simple-base12:k=2",
    "onepeer-hypercube8",
    "onepeer-exponential16",
]


@pytest.mark.parametrize("name", SAID)
def test_the_closed_form_is_the_gap(name):
    found = examine(name)
    assert found.spectral_gap == pytest.approx(found.closed_form[1], abs=1e-12)


@pytest.mark.parametrize("name", ["ring16:mixing=lazy", "exponential9", "torus8", "social32"])
def test_where_no_theory_fits_none_is_claimed(name):
    assert examine(name).closed_form is None


def test_the_expected_gap_of_random_pairs_comes_near_theory():
    network = admit("random-matching8")
    expected = examine("random-matching8").closed_form[1]
    assert expected_gap(network, 1000) == pytest.approx(expected, abs=0.05)
    W = np.roll(np.eye(8), 1, axis=0) / 2 + np.eye(8) / 2  # a directed ring: |1 + e^(i pi/4)| / 2
    assert expected_gap(admit(W), 1) == pytest.approx(1 - np.cos(np.pi / 8), abs=1e-12)


@pytest.mark.parametrize(
    "name", ["ring9", "chain7", "star5", "grid12", "social32", "exponential11"]
)
def test_the_rounds_until_everyone_heard_of_everyone_are_the_diameter(name):
    network = admit(name)
    assert diameter(network) == nx.diameter(network.graph(0))


def test_pairs_along_the_dimensions_of_a_cube_need_one_round_each():
    assert diameter(admit("onepeer-hypercube16")) == 4
    assert diameter(admit(np.eye(3))) is None


@pytest.mark.parametrize("name", ["ring16", "social32", "torus16", "double-binary-trees9"])
def test_no_start_takes_longer_than_the_gap_says(name):
    found = examine(name)
    for share, rounds in found.simulated.items():
        assert rounds <= found.predicted[share]


def test_the_simulated_rounds_are_those_of_average_consensus():
    path = average_consensus("ring16", 200, quasi_global=False)
    assert examine("ring16").simulated == {share: rounds_to(path, share) for share in (1e-2, 1e-6)}


def test_bytes_are_messages_times_parameters_times_four():
    assert examine("ring16", num_params=1000).bytes_per_round == 16 * 2 * 1000 * 4
    assert examine("onepeer-exponential16", num_params=7).bytes_per_round == 16 * 7 * 4
    assert examine("star5", num_params=1).bytes_per_round == 2 * 4 * 4


def test_degrees_and_links_are_per_round():
    star, base = examine("star8"), examine("base25")
    assert (star.links, star.degrees) == (7, (1, 14 / 8, 7))
    assert base.degrees[0] == 0
    assert base.degrees[2] == 1
    assert "sends to 0 or 1 others, " in dict(sheet(base))["links"]
    assert "sends to 1 to 7 others, 1.8 in" in dict(sheet(star))["links"]


def verdict(name, algorithm):
    return next(v for v in examine(name).verdicts if v.algorithm == algorithm)


def test_algorithms_that_may_not_run_have_a_reason():
    assert verdict("chain8", "relay-sgd").runs
    assert "tree" in verdict("ring8", "relay-sgd").remark
    assert "-0.6000" in verdict("torus16", "d2").remark
    assert examine("torus16").lambda_min == pytest.approx(-3 / 5)  # 1 - 2/5 (1 - cos pi) x 2 sides
    assert examine("onepeer-hypercube8").lambda_min is None  # W is symmetric, and changes
    assert not verdict("random-peer8", "dsgd").runs
    assert verdict("random-peer8", "sgp").runs
    assert verdict("random-peer8", "sgd").runs  # all-reduces


def test_a_network_agrees_though_the_gap_of_a_round_is_0_where_the_gap_is_a_norm():
    W = np.zeros((8, 8))
    for sender in range(8):  # De Bruijn: after 3 rounds every one has an eighth of every one
        W[[2 * sender % 8, (2 * sender + 1) % 8], sender] = 1 / 2
    assert (np.linalg.matrix_power(W, 3) == 1 / 8).all()
    found = examine(W)
    assert found.spectral_gap == pytest.approx(0, abs=1e-12)
    assert found.simulated[1e-6] == 3
    said = sheet(found)
    assert "3 rounds from a random start" in "\n".join(map(str, said))
    assert "never" not in str(said)
    assert "never" not in table([found])[1]


def test_a_network_in_pieces_is_examined_but_nobody_may_run_on_it(tmp_path, capsys):
    path = tmp_path / "pieces.csv"
    path.write_text("source,target\n0,1\n2,3\n")
    found = examine(str(path))
    assert not any(v.runs for v in found.verdicts)
    assert (found.spectral_gap, found.diameter) == (0, None)
    path.write_text("source,target\n0,1\n1,2\n3,4\n4,5\n")
    assert examine(str(path)).spectral_gap == 0  # by arithmetic alone -2.2e-16
    assert found.predicted[1e-2] is found.simulated[1e-2] is None
    assert found.simulated_rounds == 0  # nobody waits for what never comes
    assert table([found])[1].count("never") == len(TARGETS)
    with pytest.raises(SystemExit) as ended:
        main(["topology", str(path)])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert "cannot run" in said.out
    assert "in 2 pieces" in said.err


def test_sums_that_are_not_1_are_told():
    found = examine(np.array([[0.5, 0.4], [0.25, 0.5]]))
    assert (found.rows, found.columns) == (False, False)
    assert "row 0 of W sums to 0.900" in found.problem
    assert ("W", "given: sums are not 1") in sheet(found)
    assert not any("gossip" in what for what, _ in sheet(found))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("matrix: [[0.5, 0.5], [0.5, 0.4]]\n", "row 1 of W sums to 0.900"),
        ("edges: [[a, b], [c, d]]\n", "in 2 pieces: clients a and c"),
    ],
)
def test_what_nobody_may_run_on_is_described_in_a_few_lines_and_not_drawn(
    text, problem, tmp_path, capsys
):
    (tmp_path / "net.yaml").write_text(text)
    code, said = command(capsys, "topology", str(tmp_path / "net.yaml"))
    assert code == 2
    assert problem in said.err
    assert len((said.out + said.err).splitlines()) <= 12
    assert "cannot run" in said.out.splitlines()[-1]


def test_a_large_torus_is_half_as_wide_as_its_sides_are_long():
    assert diameter(admit("torus1024")) == 32  # 32 x 32: 16 and 16 steps


def command(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return ended.value.code, capsys.readouterr()


def test_one_network_is_drawn_and_described(capsys):
    code, said = command(capsys, "topology", "ring8")
    assert code == 0
    lines = said.out.splitlines()
    assert "spectral gap    0.1953; in theory 2/3 (1 - cos(2 pi/n)) = 0.1953" in lines
    assert sum(line.startswith("network") for line in lines) == 1


def test_several_networks_make_a_table(capsys):
    code, said = command(capsys, "topology", "ring", "torus", "--clients", "16")
    assert code == 0
    assert [line.split()[:2] for line in said.out.splitlines()[1:]] == [
        ["ring16", "16"],
        ["torus16", "16"],
    ]


def test_json_is_an_object_or_a_list_of_them(capsys):
    assert json.loads(command(capsys, "topology", "ring4", "--json")[1].out)["clients"] == 4
    found = json.loads(command(capsys, "topology", "ring4", "star4", "--json")[1].out)
    assert [one["degrees"] for one in found] == [[2, 2.0, 2], [1, 1.5, 3]]


def test_an_unknown_network_is_exit_code_2(capsys):
    code, said = command(capsys, "topology", "rnig16")
    assert (code, said.out) == (2, "")
    assert "did you mean ring16?" in said.err


def test_the_consensus_command_tells_swinging_from_staying(capsys):
    code, said = command(capsys, "consensus", "ring16", "--rounds", "60")
    assert code == 0
    header, row = said.out.splitlines()
    assert "stays from" in row
    assert "> 60" in row


@pytest.mark.parametrize("name", ["ring16", "star9", "social-tree32", "ring1", "ring2", "grid12"])
def test_a_drawing_in_lines_names_every_client_and_fits(name):
    network = admit(name)
    lines = picture(network)
    for client in range(network.num_clients):
        assert any(str(client) in line for line in lines)
    assert max(map(len, lines)) <= 78
    assert len(lines) <= 20


@pytest.mark.parametrize("name", ["exponential16", "onepeer-exponential16", "social32", "base25"])
def test_a_matrix_has_a_cell_for_every_pair(name):
    network = admit(name)
    lines = picture(network)
    assert max(map(len, lines)) <= 78
    first = [line[: network.num_clients] for line in lines if line[:1] in "█▀▄·"]
    filled = sum({"█": 2, "▀": 1, "▄": 1, "·": 0}[c] for line in first for c in line)
    assert filled == len(network.mixing(0).weights)


def test_what_would_not_fit_is_not_drawn_in_characters():
    assert picture(admit("ring100")) == []


def test_a_layout_keeps_a_chain_straight_and_a_hub_in_the_middle():
    chain, star = places(admit("chain9")), places(admit("star9"))
    assert np.ptp(chain[:, 1]) < 0.1 * np.ptp(chain[:, 0])
    assert np.argmin(np.linalg.norm(star - star.mean(axis=0), axis=1)) == 0


def test_the_table_tells_who_cannot_run():
    header, ring, peer = table([examine("ring8"), examine("random-peer8")])
    assert ring.endswith("dsgd-ceca, relay-sgd, teleportation")
    assert "push-sum" in peer


def test_clients_are_shown_by_their_names():
    short, long = nx.cycle_graph(["Ada", "Bob", "Cy"]), nx.cycle_graph(["Albert", "Bob", "Cy"])
    assert dict(sheet(examine(short)))["clients"] == "Ada, Bob, Cy"
    assert "".join(picture(admit(short))).count("Bob") == 1
    assert dict(sheet(examine(long)))["clients"] == "0 Albert, 1 Bob, 2 Cy"
    assert "Bob" not in "".join(picture(admit(long)))
    assert "clients" not in dict(sheet(examine("ring8")))
    assert "clients" not in dict(sheet(examine(nx.cycle_graph(["0", "1", "2"]))))
    crowd = examine(nx.cycle_graph([f"{k:04d}" for k in range(50)]), liars=["0000"])
    assert dict(sheet(crowd))["clients"].endswith("0038, 0039 and 10 more")


def test_pieces_of_a_network_are_told_by_names():
    pairs = nx.Graph([("Ada", "Bob"), ("Cy", "Dan")])
    assert "clients Ada and Cy cannot both reach each other" in examine(pairs).problem


@pytest.mark.parametrize("n", [2, 63, 64, 65, 130])
def test_news_crosses_a_chain_link_by_link_however_many_words_notes_take(n):
    assert diameter(admit(f"chain{n}")) == n - 1
