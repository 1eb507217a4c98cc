"""Sizes are checked against memory before anything is built; long texts make short messages."""

import numpy as np
import pytest

import p2pqg.base.memory as memory
from p2pqg.base.errors import TopologyError
from p2pqg.topology import TOPOLOGIES, build, mixing_matrix
from p2pqg.topology.names import split_name


@pytest.fixture
def a_gigabyte(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 10**9)


@pytest.mark.parametrize(
    "name",
    [
        "ring999999999999999999",
        "ring100000000",
        "complete99999999999",
        "expander999999999999999989",
        "hypercube1073741824",
        "base100000000",
        "erdos-renyi1000000:p=0.5",
        "geometric100000:radius=1",
        "random-regular10000000:degree=100",
        "random-peer100000000",
        "margulis100000000",
        "ring" + "9" * 5000,
    ],
    ids=lambda name: name[:30],
)
def test_a_network_that_would_not_fit_is_refused(name, a_gigabyte):
    with pytest.raises(TopologyError, match=r"would take .* of memory, 1.0 GB are free") as refused:
        build(name)
    assert len(str(refused.value)) < 300


def test_a_network_that_fits_is_not_refused(a_gigabyte):
    assert build("ring1000").num_clients == 1000
    assert build("complete100").num_clients == 100


@pytest.mark.parametrize("name", ["complete64", "exponential64", "exponential65", "hypercube64"])
def test_neighbors_are_as_many_as_are_said(name):
    degrees, (stem, size, _) = build(name).mixing(0).out_degrees(), split_name(name)
    said = TOPOLOGIES[stem].traits["neighbors"](size, TOPOLOGIES[stem].params())
    assert set(degrees) == {said}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("net.yaml", "edges: [[0, 1]]\nclients: 99999999999\n"),
        ("net.yaml", "graph: ring\nclients: 99999999999\n"),
        ("net.csv", "source,target\n0,1\n"),
    ],
)
def test_clients_that_a_file_only_counts_are_refused_at_once(name, text, tmp_path, a_gigabyte):
    (tmp_path / name).write_text(text)
    with pytest.raises(TopologyError, match="of memory, 1.0 GB are free; use fewer clients"):
        build(str(tmp_path / name), 99999999999 if name == "net.csv" else None)


def test_a_far_number_in_a_file_is_a_gap_and_no_allocation(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text("edges: [[0, 99999999999]]\n")
    with pytest.raises(TopologyError, match="client 1 has no edge, but the numbers run from 0 to"):
        build(str(path))


def test_an_array_is_not_read_before_it_is_known_to_fit(tmp_path, a_gigabyte):
    path = tmp_path / "net.npy"
    header = np.lib.format.header_data_from_array_1_0(np.zeros((1, 1)))
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header | {"shape": (20_000, 20_000)})
        file.truncate(file.tell() + 8 * 20_000**2)  # zeros that take no place on the disk
    with pytest.raises(TopologyError, match="would take 12.8 GB of memory, 1.0 GB are free"):
        build(str(path))


def test_a_dense_matrix_of_many_clients_is_refused(a_gigabyte):
    with pytest.raises(TopologyError, match="of memory, 1.0 GB are free; use p2pqg.topology.build"):
        mixing_matrix("ring100000")


@pytest.mark.parametrize(
    "name", ["x" * 5000, "x" * 300 + "/b", "ring8:" + "k" * 5000 + "=1", "🦆" * 300]
)
def test_names_of_thousands_of_letters_make_a_short_message(name):
    with pytest.raises(TopologyError) as refused:
        build(name)
    assert len(str(refused.value)) < 1500


@pytest.mark.parametrize("name", ["ring4:", "ring４", "ring 4", "ring-4", "4ring", ":ring4"])
def test_what_is_nearly_a_name_is_refused(name):
    with pytest.raises(TopologyError):
        build(name)


def test_a_cell_of_more_than_131072_characters_is_refused_with_its_line(tmp_path):
    path = tmp_path / "net.csv"
    path.write_text('source,target\n0,1\n"' + "x" * 200_000 + '",1\n')
    with pytest.raises(TopologyError, match=r"net.csv: line 3: field larger than field limit"):
        build(str(path))
