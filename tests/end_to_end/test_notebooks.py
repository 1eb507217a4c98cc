"""The notebooks are stored with what they show, still run, and find what they say.

A live one can be interrupted.
"""

import ast
import base64
import re

import jupyter_client
import pytest
from notebooks import FOLDER, code, executed, fingerprint, read

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

FOUND = {
    "01-first-steps": """
        worst_together = run.rounds["test_accuracy_min"].dropna().iloc[-1]
        alone_ = together.clients["test_accuracy"]["alone"]
        assert worst_together > 0.9
        assert alone_.mean() < 0.45 and alone_.max() < 0.8
        rounds = methods.table["rounds_to_0.9"]
        assert rounds["qg-dsgdm-n"] < rounds["dsgdm-n"]
    """,
    "02-what-if-a-bridge-fails": """
        assert both.clients["difference"]["bridge cut"].nsmallest(2).index.isin(CUT_OFF).all()
        assert hit.min()["florentine15, bridges"] > 0.03
        assert hit.max()["florentine15, others"] < 0.01 and hit.max()["social32, others"] < 0.01
        points = pd.concat(table, axis=1)
        after, left, healed, end = (points[key] for key in table)
        qg, own = "qg-dsgdm-n", "dsgdm-n"
        assert after[qg][0] > after[own][0] > 20 and left[qg][0] < left[own][0]
        assert (after[qg][1:] < 0.75 * after[own][1:]).all()
        assert healed[qg][0] < healed[own][0] < 100
        assert (end[:-1].abs() < 0.5).all(axis=None) and (end[-1:] > 1).all(axis=None)
    """,
    "03-which-network-for-a-slow-wan": """
        seconds = runs.table["sim_seconds_to_0.9"].sort_values()
        assert list(seconds.index[:2]) == ["onepeer-exponential32", "base32:k=1"]
        assert seconds.index[-1] == "social32" and seconds.iloc[-1] > 4 * seconds.iloc[0]
        assert runs.table["rounds_to_0.9"].idxmin() == "exponential32"
        assert runs.table["rounds_to_0.9"].idxmax() == "ring32"
        assert abs(napkin["by hand"] - napkin["by the clock"]).max() < 1e-9
        lines = lines.pivot(index="line_in_Mbit/s", columns="network", values="seconds_to_90_%")
        fastest = lines.idxmin(axis=1)
        assert set(fastest.loc[:20]) == {"onepeer-exponential32"}
        assert set(fastest.loc[50:]) == {"exponential32"}
    """,
    "05-does-it-pay-not-to-wait": """
        own, qg, meeting, alone = (each.loc[name] for name in METHODS)
        assert (alone < 0.7 * qg).all() and (meeting < own).all()
        assert (qg[[1, 4]] < meeting[[1, 4]]).all() and (meeting[8] < qg[8]).sum() == 2
        own, qg, meeting, alone = (seconds.loc[name] for name in METHODS)
        assert qg[1] < qg[4] < qg[8] and qg[8] > 1.3 * qg[1] and alone.max() < 26
        assert meeting.max() < 1.2 * meeting.min() and meeting.max() < 60 and own.min() > 65
        accuracy = pd.DataFrame({count: one.table["test_accuracy"] for count, one in runs.items()})
        assert (accuracy.loc["qg-dsgdm-n"] > accuracy.loc["async-qg-dsgdm-n"] + 0.01).all()
        worst = pace["worst client"].unstack()["async-qg-dsgdm-n"]
        behind = accuracy.loc["async-qg-dsgdm-n"] - worst
        assert behind.between(0.015, 0.055).all()
        reached = forks.table["sim_seconds_to_0.9"]
        assert 1.3 < reached["qg-dsgdm-n, slowed"] / reached["qg-dsgdm-n"] < 1.5
        assert 1.1 < reached["ad-psgd, slowed"] / reached["ad-psgd"] < 1.2
    """,
    "04-two-liars-on-the-bridge": """
        assert LIARS == ["E8", "E9"] and not found["E8, E9"].connected
        alone, quasi = ends["dsgdm-n"], ends["qg-dsgdm-n"]
        assert (ends.loc["all honest"] > 0.94).all()
        assert quasi["liars"] < 0.15 < alone["liars"] < 0.6
        itself, near = "liars, clipped by itself", "liars, clipped at 0.1"
        assert alone[itself] < 0.7 and quasi[itself] < 0.15
        assert quasi[near] > 0.93 and 0.88 < alone[near] < quasi[near]
        table = swept.pivot(index="clip_length", columns="case", values="test_accuracy")
        honest = table.loc[0.1, [f"{method}, all honest" for method in METHODS]].values
        price = ends.loc["all honest"] - honest
        assert (0.005 < price).all() and (price < 0.035).all()
        lost = table["qg-dsgdm-n, liars"]
        assert 0.6 < lost[1.0] < 0.8 and lost[3.0] < 0.15
        assert worst.index[0] == "Dorothy Murchison"
        assert 0.83 < worst.iloc[0] < 0.88 < worst.iloc[2]
    """,
    "06-what-would-you-cut": """
        for cut in cuts.values():
            ends = [end for link in cut for end in link.split("-")]
            assert max(ends.count(end) for end in ends) == 2
            assert min(degree[names.index(end)] for end in ends) <= 3
        least = table.xs("test_accuracy_min", axis=1, level=1)
        mean = table.xs("test_accuracy", axis=1, level=1)
        drop = mean.loc["nothing"] - mean
        assert (drop.loc["the busiest"] < 0.005).all()
        assert (drop["qg-dsgdm-n"] < 0.012).all() and drop["dsgdm-n"].max() > 0.018
        own_cut, qg_cut = least.loc["against dsgdm-n"], least.loc["against qg-dsgdm-n"]
        assert own_cut["dsgdm-n"] < 0.3 and own_cut["qg-dsgdm-n"] > 0.6
        assert qg_cut["dsgdm-n"] < 0.5 and qg_cut["qg-dsgdm-n"] > 0.8
    """,
}
"""What each notebook concludes, in numbers."""


def shown(notebook):
    """Of each cell of code the kinds of what it shows, in order."""
    return [[sorted(output.get("data", {})) for output in cell.outputs] for cell in code(notebook)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_a_question_stored_with_the_outputs_of_its_code(path):
    notebook = read(path)
    assert re.match(r"# .*\?\n", notebook.cells[0].source)
    assert path.stem in FOUND
    command = f"python tests/notebooks.py runs/notebooks/{path.name}"
    assert notebook.metadata.get("p2pqg") == {"code": fingerprint(notebook)}, f"stale: {command}"
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type in ("error", "stream")]
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.data]
    assert len(pictures) >= 3
    assert all(base64.b64decode(one).startswith(b"\x89PNG") for one in pictures)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_is_small_and_says_nothing_of_the_machine_it_ran_on(path):
    text = re.sub(r'"image/png": ".*"', "", path.read_text(encoding="utf-8"))
    assert path.stat().st_size < 1_000_000
    assert not re.search(r"(?<![\w./])/(tmp|home|root|work|Users|opt)/", text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_functions_in_notebooks_have_at_most_five_lines(path):
    for node in ast.walk(ast.parse("\n".join(cell.source for cell in code(read(path))))):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno <= 5, node.name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_in_notebooks_lead_somewhere(path):
    for cell in read(path).cells:
        for target in re.findall(r"\]\(([^)]+)\)", cell.source):
            assert (path.parent / target).exists(), target


@pytest.mark.slow  # half a minute each
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_still_runs_shows_what_is_stored_and_finds_what_it_says(path, tmp_path):
    stored, claims = read(path), re.sub("^ {8}", "", FOUND[path.stem], flags=re.M)
    again = executed(read(path), tmp_path, last=claims)
    assert shown(again) == shown(stored)


def test_an_interrupted_simulation_goes_on_where_it_stopped(tmp_path):
    with Kernel(tmp_path) as kernel:
        kernel.run(
            "import p2pqg, numpy as np",
            "SETTINGS = dict(topology='ring8', engine='local', rounds=10**6, eval_every=10**5)",
            "sim = p2pqg.Simulation(**SETTINGS)",
        )
        assert kernel.run("sim.advance(10**6)", interrupt=True) == "KeyboardInterrupt"
        assert not kernel.run(
            "stopped = sim.round",
            "assert 0 < stopped < 10**6",
            "sim.advance(5)",
            "assert sim.round == len(sim.history) == stopped + 5",
            "other = p2pqg.Simulation(**SETTINGS)",
            "other.advance(sim.round)",
            "assert np.array_equal(sim.parameters(), other.parameters())",
        )
        assert any("on ring8</span>" in html for html in kernel.shown)


class Kernel:
    """A Jupyter kernel: `run` returns the name of the error that ended the cell, if one did.

    With `interrupt` it interrupts the cell when a bar says how much is left.
    """

    def __init__(self, folder):
        self.folder, self.shown = folder, []

    def __enter__(self):
        self.manager = jupyter_client.KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(self.folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        return self

    def __exit__(self, *error):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def run(self, *lines, interrupt=False):
        request, error = self.client.execute("\n".join(lines)), None
        while True:
            message = self.client.get_iopub_msg(timeout=60)
            kind, content = message["msg_type"], message["content"]
            if message["parent_header"].get("msg_id") != request:
                continue
            if kind == "error":
                error = content["ename"]
            elif kind in ("display_data", "update_display_data"):
                self.shown.append(content["data"].get("text/html", ""))
                if interrupt and "left" in self.shown[-1]:
                    self.manager.interrupt_kernel()
                    interrupt = False
            elif kind == "status" and content["execution_state"] == "idle":
                return error
