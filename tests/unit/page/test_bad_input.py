"""What cannot be read or written is one clear line, and leaves nothing behind."""

import pytest
from click.testing import CliRunner

from p2pqg.cli import main
from p2pqg.results.parquet import write_parquet
from p2pqg.results.schemas import ROUND_COLUMNS


def report(*words):
    return CliRunner().invoke(main, ["report", *map(str, words)])


def test_the_page_goes_beside_the_run_and_its_path_is_told(recorded):
    run = recorded("a")
    done = report(run.path)
    assert done.output == f"report: {run.path / 'report.html'}\n"
    assert (run.path / "report.html").exists()


def test_the_page_on_several_runs_goes_where_they_all_are(recorded, tmp_path):
    runs = [recorded("a"), recorded("b")]
    assert report(*(run.path for run in runs)).output == f"report: {tmp_path / 'report.html'}\n"


def broken(name, content=b"PAR1 and no more"):
    def spoil(run):
        (run.path / name).write_bytes(content)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (broken("rounds.parquet"), "rounds.parquet: cannot be read"),
        (broken("clients.parquet"), "clients.parquet: cannot be read"),
        (broken("summary.json"), "summary.json: cannot be read"),
        (broken("summary.json", b"[]"), "summary.json: must be a mapping"),
        (broken("failed.json"), "failed.json: cannot be read"),
        (broken("config.yaml", b"a: [b"), "config.yaml: cannot be read"),
        (broken("config.yaml", b"lr: 1"), "config.yaml is not that of a run: topology is missing"),
        (
            lambda run: write_parquet(run.path / "rounds.parquet", [], ROUND_COLUMNS),
            "nothing was recorded",
        ),
        (
            lambda run: write_parquet(
                run.path / "rounds.parquet", [{"lr": 1.0}], {"lr": "float64"}
            ),
            "the column round is missing",
        ),
    ],
)
def test_what_cannot_be_read_is_one_clear_line_and_no_page(recorded, spoil, message):
    run = recorded("a")
    spoil(run)
    before = set(run.path.iterdir())
    done = report(run.path)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.startswith("ConfigError: ")
    assert done.stderr.count("\n") == 1
    assert set(run.path.iterdir()) == before


def test_a_place_without_runs_is_one_clear_line(tmp_path):
    for path, message in ((tmp_path / "no", "no such run directory"), (tmp_path, "no run in")):
        done = report(path)
        assert done.exit_code == 2
        assert message in done.stderr


def test_a_file_that_cannot_be_written_leaves_nothing_behind(recorded, tmp_path):
    run = recorded("a")
    for out, message in (
        (tmp_path, "must be a file"),
        (tmp_path / "no" / "x", "cannot be written"),
    ):
        done = report(run.path, "--out", out)
        assert done.exit_code == 2
        assert message in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"a"}
