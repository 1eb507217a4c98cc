"""The examples of the handbook mean what they say; `p2pqg list --markdown` is the registry."""

import dataclasses
import re
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

import p2pqg.errors
from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.config import sentences
from p2pqg.cli import main
from p2pqg.cli.catalogue import markdown
from p2pqg.data._tables import Columns
from p2pqg.results.cells import cells
from p2pqg.results.claims import read_claims
from p2pqg.results.run_frames import read_runs
from p2pqg.topology import TOPOLOGIES

DOCS = Path(__file__).parents[2] / "docs"


def shown(page, name, language="python"):
    """The code under `<!-- name -->`."""
    return re.search(rf"<!-- {name} -->\n```{language}\n(.*?)```", (DOCS / page).read_text(), re.S)[
        1
    ]


def test_every_method_and_network_has_one_row_with_all_its_columns():
    rows = [line for line in markdown().splitlines() if line.startswith("| `")]
    assert len(rows) == len(TOPOLOGIES) + sum(
        e.build.__module__.startswith("p2pqg.") for e in ALGORITHMS.values()
    )
    assert {line.count(" | ") + 1 for line in rows} == {4, 5}
    assert "`beta=0.9`, `mu=0.9`, `tau=1`" in next(r for r in rows if r.startswith("| `qg-dsgdm`"))


def test_list_prints_the_tables(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["list", "--markdown"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == markdown()


def test_the_claim_of_the_handbook_is_one():
    said = yaml.safe_load(shown("papers.md", "claim.yaml", "yaml"))["claim"]
    (claim,) = read_claims(said).values()
    assert claim.rule == "test accuracy of qg-dsgdm-n - dsgdm-n at alpha 0.1, above 0"
    assert list(said)[-1] == "metric"


def test_the_verdicts_of_the_handbook_and_the_readme_are_those_of_the_results_beside_them():
    result = CliRunner().invoke(main, ["claims", "--markdown"])
    table = result.stdout.strip()
    assert table in (DOCS / "papers.md").read_text("utf-8")
    all_rows = [tuple(map(str.strip, row.split("|")))[1:4] for row in table.splitlines()[2:]]
    lines = (DOCS.parent / "README.md").read_text("utf-8").splitlines()
    first = lines.index("| Claim | Recipe | Verdict |") + 2
    shown = list(takewhile(lambda line: line.startswith("|"), lines[first:]))
    rows = [tuple(map(str.strip, row.split("|")))[1:4] for row in shown]
    assert len(rows) > 5
    assert set(rows) <= set(all_rows)
    assert not any(verdict == "not run" for _, _, verdict in rows)


def test_the_picture_of_the_handbook_is_that_of_the_results():
    (name,) = re.findall(r"!\[.*\]\((.*\.svg)\)", (DOCS / "papers.md").read_text("utf-8"))
    kept = DOCS.parent / "runs" / "results" / "table1-longer-cpu" / name
    assert (DOCS / name).read_bytes() == kept.read_bytes()


def test_the_numbers_of_the_readme_are_those_of_the_results_beside_it():
    found = cells(read_runs([DOCS.parent / "runs" / "results" / "digits-table"]))
    readme = (DOCS.parent / "README.md").read_text("utf-8")
    rows = {
        cells_of[1].strip(): cells_of[2:-1]
        for line in readme.splitlines()
        if len(cells_of := line.split("|")) == 9
    }
    for cell in found.itertuples():
        column = ("ring16", "social32").index(cell.topology) * 3 + (10, 1, 0.1).index(cell.alpha)
        shown = rows[cell.method][column].strip(" *")
        assert shown == f"{100 * cell.mean:.2f} ± {100 * cell.std:.2f}"
    assert f"{found['runs'].sum():,} runs" in readme
    (first,) = (DOCS.parent / "runs" / "notebooks").glob("01-*.ipynb")
    here = found[(found["topology"] == "social32") & (found["alpha"] == 0.1)]
    means = 100 * here.set_index("method")["mean"]
    told = f"{means['qg-dsgdm-n']:.1f} and {means['dsgdm-n']:.1f} %"
    assert told in first.read_text("utf-8"), "of three seeds it was 96.6 and 95.7"


def test_the_method_of_the_handbook_is_dsgd_with_a_lazy_w(tmp_path):
    # Half of the way to the mean of the neighbors: W and the identity, half each.
    (tmp_path / "my_method.py").write_text(shown("own.md", "my_method.py"))
    x0 = np.random.default_rng(0).standard_normal((8, 5))
    settings = {"gradient": lambda x, t: x - x0[::-1], "x0": x0, "rounds": 9, "lr": 0.1}
    path = f"{tmp_path}/my_method.py:half_way"
    expected = p2pqg.trajectory("dsgd", topology="ring8:mixing=lazy", **settings)
    found = p2pqg.trajectory(path, topology="ring8", share=0.5, **settings)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_the_scenario_of_the_handbook_happens_as_it_says(tmp_path):
    recipe = yaml.safe_load(shown("scenarios.md", "outage.yaml", "yaml"))
    (run,) = [p2pqg.run(**recipe, engine="local", out=str(tmp_path), eval_every=500)]
    done = [(event["round"], event["what"].partition(" ")[0]) for event in run.summary["events"]]
    assert [round for round, what in done if what == "set_lr"] == [300, 350, 400, 450]
    assert (150, "drop_clients") in done
    assert run.rounds["present"].min() == 30
    assert run.rounds["present"].iloc[-1] == 32
    assert (run.rounds["sim_seconds"].diff().dropna() > 0).all()


def test_the_keys_of_data_of_ones_own_have_sentences_also_those_they_build_on():
    said = sentences(Columns)
    assert list(said) == [field.name for field in dataclasses.fields(Columns)]
    assert said["task"].startswith("auto: whole numbers and texts are classes")


def test_the_api_has_all_of_a_live_network_once_be_it_its_own_or_inherited():
    page = (DOCS / "api.md").read_text("utf-8")
    listed = re.findall(r"^::: p2pqg\.simulation\.simulation\.Simulation\.(\w+)$", page, re.M)
    assert sorted(listed) == sorted(n for n in dir(p2pqg.Simulation) if not n.startswith("_"))
    assert all(getattr(p2pqg.Simulation, name).__doc__ for name in listed)


def test_the_api_has_every_error_that_a_user_can_meet():
    page = (DOCS / "api.md").read_text("utf-8")
    there = [name for name, one in vars(p2pqg.errors).items() if isinstance(one, type)]
    assert sorted(re.findall(r"^::: p2pqg\.base\.errors\.(\w+)$", page, re.M)) == sorted(there)


def test_the_changelog_says_everything_once():
    """Lines are appended by many; a merge of two shapes of it has had both."""
    lines = re.findall(r"^[- ] .*$", (DOCS / "changelog.md").read_text("utf-8"), re.M)
    assert [line for line in set(lines) if lines.count(line) > 1] == []
