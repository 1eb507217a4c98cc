"""The page says how runs ended, what went wrong, and of when its numbers are."""

import json
import math

import pytest
from pages import with_summary

import p2pqg
from p2pqg.page.replay import Replay
from p2pqg.page.runs import read
from p2pqg.page.seeds import Seeds
from p2pqg.page.tables import headline
from p2pqg.results.directory import LOCK, RunDirectory, being_written
from p2pqg.results.parquet import write_parquet
from p2pqg.results.schemas import ROUND_COLUMNS


def test_a_run_that_was_stopped_says_when(recorded, page_of):
    page = page_of(recorded("a", rows=4))
    assert page.notes == ["stopped after 4 rounds of 10"]


def test_a_stopped_run_with_a_checkpoint_says_how_to_go_on(recorded, page_of):
    run = recorded("a", rows=4)
    (run.path / "checkpoints").mkdir()
    assert page_of(run).notes[0].endswith(f"`p2pqg resume {run.path}` goes on")


UNSAVED = "its last checkpoint cannot be written (No space left on device); "


@pytest.mark.parametrize("rows", [4, 10])
def test_wherever_it_is_told_how_a_run_stands_it_says_that_its_last_checkpoint_is_lacking(
    recorded, page_of, rows
):
    told = UNSAVED + "there is no other: nothing is left to resume"
    run = with_summary(recorded("a", rows=rows), unsaved=told)
    (run.path / "checkpoints").mkdir()
    notes = [f"stopped after {rows} rounds of 10"] * (rows < 10) + [told]
    assert page_of(run).notes == notes  # and no word of a resume that goes on
    assert p2pqg.compare(run.path).notes == [f"{run.path}: {'; '.join(notes)}"]
    assert Replay(0, run.path, "a").frame(with_network=False)["ending"] == "; ".join(notes)
    both = [recorded(f"b{seed}", rows=rows, seed=seed) for seed in (1, 2)]
    seeds = Seeds.of_runs([read(both[0]), read(with_summary(both[1], unsaved=told))])
    assert seeds.unsaved == f"seed 2: {told}"
    with RunDirectory.reopen(run.path) as directory:
        directory.reserve()  # it goes on, and may find room
        assert told not in page_of(run).notes


def test_a_run_that_diverged_says_why(recorded, page_of):
    run = recorded("a", rows=4, failure="round 4: client 1 has a non-finite loss")
    assert page_of(run).notes == ["diverged: round 4: client 1 has a non-finite loss"]


def test_a_failed_run_without_rows_is_still_a_line_beside_others(fake_run, recorded, page_of):
    failed = fake_run("failed", failure="no memory", lr=7.0)
    for name in ("rounds.parquet", "summary.json"):
        (failed.path / name).unlink()
    page = page_of(recorded("a"), failed)
    assert page.notes == ["lr 7 failed: no memory"]


def test_a_loss_that_grew_is_pointed_out(recorded, page_of):
    run = recorded("a")
    rows = [{"round": t, "train_loss": 2.0 * 100**t} for t in range(3)]
    write_parquet(run.path / "rounds.parquet", rows, ROUND_COLUMNS)
    assert "diverging: its training loss grew from 2 to 2e+04" in page_of(run).notes


def test_a_run_whose_process_lives_is_still_going(recorded, page_of):
    run = recorded("a", rows=4)
    (run.path / "summary.json").unlink()
    assert page_of(run).notes == ["broken off after 4 rounds of 10, no end on record"]
    with RunDirectory.reopen(run.path) as directory:
        directory.reserve()
        assert being_written(run.path)
        assert page_of(run).notes == ["still going: 4 rounds of 10 so far"]
    (run.path / LOCK).touch()  # what a killed process leaves
    assert not being_written(run.path)


def test_what_was_done_to_a_run_is_told_in_order(recorded, page_of):
    run = recorded("a")
    told = {
        "events": [{"round": 6, "sim_seconds": 0.0, "what": "drop_clients <7>"}],
        "restarts": ["round 5: actor 1 died; going on from round 4"],
    }
    (run.path / "summary.json").write_text(json.dumps(run.summary | told))
    page = page_of(run)
    events = [text for _, text in page.all("li") if text.startswith("after round")]
    assert events == [
        "after round 5 actor 1 died; going on from round 4",
        "after round 6 drop_clients <7>",
    ]


def test_what_was_done_to_all_runs_is_told_once(recorded, page_of):
    runs = [recorded("a", lr=0.1), recorded("b", lr=0.2)]
    for run, more in zip(runs, ([], [{"round": 8, "what": "set_lr 0.3"}]), strict=True):
        told = {"events": [{"round": 6, "what": "drop_links 0-1"}, *more]}
        (run.path / "summary.json").write_text(json.dumps(run.summary | told))
    page = page_of(*runs)
    events = [text for _, text in page.all("li") if text.startswith("after round")]
    assert events == ["after round 6 drop_links 0-1", "after round 8 set_lr 0.3"]


def test_what_goes_wrong_by_design_is_in_the_text(recorded, page_of):
    run = recorded(
        "a",
        impairments={"loss": 0.1, "delay": [1, 3]},
        network={"links": "wan", "compute": {"seconds": 0.05, "stragglers": {"share": 0.25}}},
        scenario=[{"at": "round 3", "drop_links": [[3, 4], "5-6"]}, {"churn": "trace.csv"}],
        rule={"name": "clipped", "tau": 2.0},
    )
    told = [text for _, text in page_of(run).all("p", class_="hardship")]
    assert told == [
        "What goes wrong in every round: 0.1 of the messages lost, delay 1 to 3 rounds.",
        "A clock is simulated: links wan; compute (seconds 0.05, stragglers (share 0.25)).",
        "The scenario: at round 3, drop links 3-4, 5-6; churn trace.csv.",
        "Clients mix what they hear by the rule clipped (tau 2).",
    ]


def test_what_goes_wrong_in_some_runs_only_is_told_of_those(recorded, page_of):
    runs = [recorded("a"), recorded("b", impairments={"loss": 0.5})]
    ((_, told),) = page_of(*runs).all("p", class_="hardship")
    assert told.endswith("What goes wrong in every round: 0.5 of the messages lost.")
    ((_, told),) = page_of(recorded("d", impairments={"loss": 1, "by": "link"})).all(
        "p", class_="hardship"
    )
    assert told == "What goes wrong in every round: all links lost."
    assert not page_of(recorded("c")).all("p", class_="hardship")


def test_a_warning_stands_behind_its_cause_and_is_nothing_that_was_done(recorded, page_of):
    told = [
        {"round": 6, "what": "drop_links 0-1"},
        {"round": 6, "what": "a warning that comes first by its letters"},
        {"round": 6, "what": "set_lr 0.2"},
    ]
    page = page_of(with_summary(recorded("a"), events=told))
    assert [text for _, text in page.all("li", class_="warning")] == [told[1]["what"]]
    text = page.said[page.said.index("What happened on the way") :]
    places = [text.index(event["what"]) for event in told]
    assert places == sorted(places)


def test_numbers_that_are_older_than_the_run_say_of_when_they_are(recorded, page_of):
    run = recorded("a", rows=8)
    assert not page_of(run).all("small")
    assert "after 8 rounds" not in page_of(run).said.replace("stopped after 8 rounds", "")
    page = page_of(with_summary(run, rounds=10, evaluated_rounds=8))
    assert "Accuracies are after 8 rounds." in page.said  # the colors of the network
    assert (
        "Final accuracy of every client %, from the worst to the best; after 8 rounds" in page.said
    )
    texts = [text for _, text in page.all("small")]
    # Four accuracies; loss, consensus distance and bytes. The time is that of the end.
    assert texts == ["after 8 rounds"] * 7


def test_a_run_that_was_to_end_early_says_when_and_why(recorded, page_of):
    run = with_summary(recorded("a", rounds=500), stopped="test_accuracy >= 0.9")
    told = "ended after 10 rounds of 500: test_accuracy >= 0.9"
    assert page_of(run).notes == [told]
    assert p2pqg.compare(run.path).notes == [f"{run.path}: {told}"]


def test_the_last_finite_number_of_a_run_that_diverged_says_of_when_it_is(recorded, page_of):
    run = recorded("a", rows=4, failure="round 4: client 1 has a non-finite loss")
    distances = [0.5, 3.0, math.inf, None]
    rows = run.rounds[["round", "train_loss", "bytes_sent"]].assign(consensus_distance=distances)
    write_parquet(run.path / "rounds.parquet", rows.to_dict("records"), ROUND_COLUMNS)
    run = with_summary(run, consensus_distance=None)
    cells = {cell.name: (cell.text, cell.note) for cell in headline(read(run))}
    assert cells["consensus"] == ("3", "after 2 rounds")
    assert cells["training loss"][1] == cells["sent"][1] == ""


def test_a_scenario_in_a_table_is_words(recorded, page_of):
    scenario = [{"at": "round 3", "drop_clients": [7, 12]}]
    page = page_of(recorded("a", scenario=scenario), recorded("b", scenario=[]))
    cells = [text for a, text in page.all("td") if a["data-name"] == "scenario"]
    assert cells == ["at round 3, drop clients 7, 12", "none"]
