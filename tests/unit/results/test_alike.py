"""In what runs differ, and which are seeds of one setting."""

import json

import pytest

import p2pqg
from p2pqg.base.errors import ConfigError
from p2pqg.base.wording import plain_text
from p2pqg.network.stored import fingerprint
from p2pqg.paper.tables import table
from p2pqg.results.alike import by_seed, differing, gave_others, settings_of, unlike
from p2pqg.results.cells import cells
from p2pqg.topology import build


def test_runs_differ_in_the_settings_that_are_not_alike_and_in_no_others(fake_run):
    frame = settings_of([fake_run("a", lr=0.1), fake_run("b", lr=0.2, accuracy=0.7)])
    assert differing(frame) == ["lr"]


def test_a_parameter_counts_only_between_runs_of_the_same_algorithm(fake_run):
    dsgd = fake_run("a")
    qg = [
        fake_run(f"qg{mu}", algorithm={"name": "qg-dsgdm", "beta": 0.9, "mu": mu})
        for mu in (0.5, 0.9)
    ]
    assert "algorithm.mu" not in differing(settings_of([dsgd, qg[0]]))
    shown = differing(settings_of([dsgd, *qg]))
    assert "algorithm.mu" in shown
    assert "algorithm.beta" not in shown


def test_what_a_version_of_before_did_not_know_was_at_its_default(fake_run):
    data = {"name": "table", "path": "a.csv"}
    before, now = (
        fake_run(name, dataset=one)
        for name, one in (
            ("before", data),
            ("now", {**data, "standardise": False, "tokens": False}),
        )
    )
    other = fake_run("other", dataset={**data, "standardise": True})
    assert differing(settings_of([before, now])) == []
    assert differing(settings_of([before, other])) == ["dataset.standardise"]


def test_where_the_file_of_what_was_given_as_an_object_lies_is_no_setting(fake_run):
    file, content = "files/data-0123456789abcdef.safetensors", "0123456789abcdef"
    here, there, other = (
        fake_run(f"s{seed}", seed=seed, dataset={"name": name, "path": path, "content": content})
        for seed, (name, path) in enumerate(
            [("given", file), ("given", f"/runs/s0/{file}"), ("table", "/runs/a.csv")]
        )
    )
    assert [len(group) for group in by_seed([here, there, other])] == [2, 1]
    assert settings_of([other])["dataset.path"].tolist() == ["/runs/a.csv"]


def test_files_of_data_that_were_changed_between_two_runs_make_them_unlike(fake_run):
    def made(seed, content=None, name="images"):
        data = {"name": name} | ({"content": content} if content else {})
        return fake_run(f"{name[:2]}{seed}", seed=seed, dataset=data)

    before, one, same, other = made(0), made(1, "aa"), made(2, "aa"), made(3, "bb")
    assert by_seed([before, one, same]) == [[before, one, same]]  # of the first nobody knows it
    assert unlike(settings_of([before, one, other])) == ["dataset.content"]
    by_code = [made(seed, text, "my.py:load") for seed, text in enumerate(["aa", "aa", "bb"])]
    assert unlike(settings_of(by_code)) == gave_others(by_code[:2]) == []
    assert gave_others([*by_code, one, other]) == ["my.py:load"]


def test_runs_on_a_network_that_an_older_version_drew_otherwise_are_no_seeds_of_those_of_now(
    fake_run,
):
    now = fingerprint(build("base6:k=3"))
    runs = []
    for seed, mark in enumerate([now, "0123456789abcdef", now, None]):
        run = fake_run(f"s{seed}", topology="base6:k=3", clients=6, seed=seed)
        if mark:  # else it keeps no checkpoint, and nobody can know
            header = run.path / "checkpoints/round-000000010/checkpoint.json"
            header.parent.mkdir(parents=True)
            network = {"topology": {"name": "base6:k=3", "fingerprint": mark}}
            header.write_text(json.dumps({"network": network}))
        runs.append(run)
    assert [len(group) for group in by_seed(runs)] == [3, 1]
    assert unlike(settings_of(runs)) == ["topology"]


def test_networks_of_unlike_sizes_are_no_seeds_of_one_setting(fake_run):
    network = "ring:mixing=lazy"  # a name that does not tell how many clients it has
    runs = [
        fake_run(f"{n}-{seed}", n / 100 + seed / 1000, topology=network, clients=n, seed=seed)
        for n in (4, 8)
        for seed in (1, 2)
    ]
    found = cells(runs)
    assert found["method"].tolist() == ["dsgd clients=4", "dsgd clients=8"]
    assert found["mean"].tolist() == pytest.approx([0.0415, 0.0815])
    assert found["seeds"].tolist() == [2, 2]
    assert [len(group) for group in by_seed(runs)] == [2, 2]
    assert differing(settings_of(runs)) == ["clients", "seed"]
    named = [fake_run(f"ring{n}", topology="ring", clients=n) for n in (4, 8)]
    assert differing(settings_of(named)) == ["topology"]  # ring4 and ring8


def test_code_that_was_edited_between_two_runs_makes_them_unlike(fake_run):
    runs = []
    for seed, code in enumerate(["net = 1", "net = 1", "net = 2"], 1):
        run = fake_run(f"s{seed}", seed / 10, seed=seed, model={"name": "m.py:net"})
        (run.path / "files").mkdir()
        (run.path / "files" / "m.py").write_text(code)
        (run.path / "files" / "weights.bin").write_bytes(bytes(2**20))
        runs.append(run)
    assert [len(group) for group in by_seed(runs)] == [2, 1]
    large = runs[1].path / "files" / "weights.bin"
    large.write_bytes(bytes(2**20 - 1) + b"1")  # of the same size
    assert unlike(settings_of(runs[:2])) == ["files.weights.bin"]
    large.write_bytes(bytes(2**20))
    assert differing(settings_of(runs)) == ["seed", "files.m.py"]
    found = cells(runs)
    assert [name.partition("m.py=")[0] for name in found["method"]] == ["dsgd "] * 2
    assert sorted(found["mean"]) == pytest.approx([0.15, 0.3])
    with pytest.raises(ConfigError, match=r"these differ in m.py \(edited in between\); give"):
        p2pqg.compare(runs)
    names = p2pqg.compare(*runs[1:]).settings["files.m.py"]
    assert names.nunique() == 2
    other = fake_run("other", 0.4, seed=4)  # without a file: its model is another one
    assert "files.m.py" not in differing(settings_of([*runs[:2], other]))


def test_a_topology_without_its_size_gets_it(fake_run):
    found = cells([fake_run("a", topology="ring"), fake_run("b", topology="ring16", seed=2)])
    assert found[["topology", "seeds"]].to_numpy().tolist() == [["ring16", 2]]


def test_settings_that_differ_in_the_eighth_digit_differ(fake_run):
    near = [0.1, 0.10000001]
    for key in ("lr", "alpha"):
        runs = [
            fake_run(f"{key}{k}-{seed}", k / 2, seed=seed, **{key: value})
            for k, value in enumerate(near)
            for seed in (1, 2)
        ]
        assert [len(group) for group in by_seed(runs)] == [2, 2]
        with pytest.raises(ConfigError, match=f"these differ in {key};"):
            p2pqg.compare([runs[0], runs[3]])
        names = p2pqg.compare(runs[:2], runs[2:]).settings[key]
        assert [plain_text(value) for value in names] == ["0.1", "0.10000001"]
    found = cells(runs)
    assert found["mean"].tolist() == [0, 0.5]
    assert "| ring16, alpha 0.10000001 | ring16, alpha 0.1 |" in table(found)
