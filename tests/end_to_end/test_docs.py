"""Every block of README and handbook runs as printed: page by page, in order, in one directory.

A block under `<!-- name.ext -->` is a file of that name, one under `<!-- not run: why -->` is left
out. Blocks of Python find Ray running, as in a second cell of a notebook. Of the commands that name
no engine one runs on Ray, as printed, with an algorithm of the user's; the others are told
`--engine local`, for each would start a Ray of its own; it changes nothing, as other tests show.
"""

import re
from pathlib import Path

import matplotlib
import pytest
from commands import in_shell, run

import p2pqg

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)```", re.S)
FILE = re.compile(r"[\w./-]+\.\w+")
ON_RAY = "my_method.py:half_way"


def blocks(page):
    """(mark, language, code) of what is run."""
    for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
        mark, language, code = found["mark"] or "", found["language"], found["code"]
        if not mark.startswith("not run: ") and mark != "test command":  # which .ci/run runs
            yield mark, language, code


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(blocks(page))], ids=lambda p: p.stem
)
def test_the_blocks_of_a_page_run_as_printed(
    page, cluster, tmp_path, tmp_path_factory, monkeypatch
):
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # as of a script that lies there
    told = tmp_path_factory.mktemp("told") / "output"
    names: dict = {}
    for mark, language, code in blocks(page):
        if FILE.fullmatch(mark):
            Path(mark).write_text(code, encoding="utf-8")
        elif language == "python":
            exec(compile(code, str(page), "exec"), names)
        else:
            assert language == "sh", f"{page.name}: nobody runs {language}; name the file"
            for words in in_shell(code):
                if words[0] == "run" and not {"--engine", ON_RAY} & {*words}:
                    words += ["--engine", "local"]
                assert run(words, told) == 0, f"{code}\n{told.read_text()}"
    sims = [one for one in names.values() if isinstance(one, p2pqg.Simulation)]
    on_ray = [one for one in sims if one.hosting.cluster]
    assert all(one.closed for one in on_ray), "the page leaves actors behind"
    if page.stem == "index":
        the_plot_shows_a_line(names["tested"])


def the_plot_shows_a_line(frame):
    (line,) = frame.plot("round", "test_accuracy").get_lines()
    y = line.get_ydata()
    assert sum(a == a and b == b for a, b in zip(y, y[1:], strict=False)) > 1
