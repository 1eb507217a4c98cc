"""What a run shows, on a terminal and in a log."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

import p2pqg
from p2pqg.base.wording import percent, seen
from p2pqg.page.words import notes
from p2pqg.results.standing import Standing
from p2pqg.running.pool import standing
from p2pqg.running.screen import NowAndThen, Screen, SweepBar, console_for_stdout
from p2pqg.running.told import about, outcome
from p2pqg.simulation.notebook import Way, bar
from p2pqg.simulation.simulation import Simulation


@pytest.fixture(scope="module")
def simulation():
    settings = {"topology": "ring4", "alpha": 0.1, "model": "logistic", "rounds": 6}
    with Simulation(engine="local", eval_every=3, **settings) as made:
        yield made


def console(terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=80, highlight=False)


def watched(simulation, run, terminal):
    drawn = console(terminal)
    with Screen(drawn) as screen:
        screen.begin(simulation, run.path)
        screen.recorded(simulation)
        simulation.advance(1)
        screen.recorded(simulation)
        screen.end(run)
    return drawn.file.getvalue()


def test_a_log_gets_plain_lines_and_no_bar(simulation, fake_run):
    run = fake_run("a")
    text = watched(simulation, run, terminal=False)
    assert "\x1b" not in text
    assert "━" not in text
    assert "●" not in text
    assert not any(line.endswith(" ") for line in text.splitlines())


def test_the_log_says_what_runs_on_what(simulation, fake_run):
    lines = watched(simulation, fake_run("a"), terminal=False).splitlines()
    said = dict(line.split(maxsplit=1) for line in lines[:8])
    assert said["algorithm"].startswith(
        "qg-dsgdm-n, beta 0.9, mu 0.9, tau 1, local_steps 1, lr 0.1"
    )
    assert said["network"].startswith("ring4: 4 clients, degree 2, spectral gap 0.667")  # 2 / 3
    assert said["data"].startswith("digits, qg-dirichlet, alpha 0.1: ")
    assert said["model"] == "logistic, 650 parameters, float32 on cpu"  # 64 * 10 + 10
    assert said["length"].startswith("6 rounds = ")
    assert said["actors"] == "none: 1 block in this process (engine local)"


def test_the_log_closes_with_the_results_and_where_they_are(simulation, fake_run):
    run = fake_run("a", 0.9012)
    text = watched(simulation, run, terminal=False)
    assert "90.12 % ± 1.00 over clients, lowest 80.00 %" in text
    assert "2.0 MB" in text
    assert "1 min 15 s" in text
    assert text.rstrip().endswith(str(run.path))


def test_a_terminal_gets_the_label_picture_and_a_bar(simulation, fake_run):
    text = watched(simulation, fake_run("a"), terminal=True)
    assert "class 9" in text
    assert "━" in text


def test_the_reason_of_the_packing_is_told_with_ray(simulation, fake_run, monkeypatch):
    monkeypatch.setitem(simulation.experiment.config.__dict__, "engine", "ray")
    text = watched(simulation, fake_run("a"), terminal=False)
    assert simulation.placement.reason in text


def test_a_run_that_was_never_evaluated_can_be_shown(simulation, fake_run):
    run = fake_run("a", None)
    nothing = ["averaged_model_accuracy", "consensus_distance", "bytes_sent"]
    run.summary.update(dict.fromkeys([*nothing, "client_steps_per_second", "startup_seconds"]))
    assert "not measured" in watched(simulation, run, terminal=False)


def test_the_last_accuracy_stays_in_sight_between_evaluations():
    row = {"round": 8, "train_loss": 1.0, "consensus_distance": 0.5}
    tested = row | {"test_accuracy": 0.873}
    assert "test 87.3 %  " in seen([tested], 9)
    assert "test 87.3 % (round 9)" in seen([tested, row | {"round": 9}], 10)
    assert "test" in seen([row], 9)
    assert seen([], 9) == ""


def test_progress_says_of_when_its_numbers_are():
    """Numbers of round 1 stood beside round 1,866."""
    settings = {"topology": "ring4", "model": "logistic", "engine": "local", "rounds": 4000}
    drawn, now = console(terminal=False), [0.0]
    with Simulation(**settings, record_every=2000, eval_every=4000, eval_first=True) as sim:
        screen = Screen(drawn, clock=lambda: now[0])
        screen.begin(sim, Path("somewhere"))
        sim.advance(3)
        now[0] = 99.0
        screen.recorded(sim)
        (row,) = sim.rows[0]
        shown = standing(sim), drawn.file.getvalue().splitlines()[-1]
        told = bar(sim, Way(0, 4000))
    old = f"after round 1: loss {row['train_loss']:.3f}  test {percent(row['test_accuracy'])}"
    for text in shown:
        assert text.startswith(f"round 3/4,000  {old}")
    assert old in told


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_terminal_is_too_narrow_to_say_what_a_number_is_and_of_when(width):
    """What had no room beside the bar was cut off."""
    drawn = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    told = "round 1,866/200,000  after round 1: loss 2.299  test 10.3 % (round 1)"
    with SweepBar(drawn) as sweep:
        sweep.grow(2)
        sweep.inside("dsgd-seed1", told)
        sweep.done("dsgd-seed2", 0.5, failed=False)
        sweep.inside("dsgd-seed1", told)
    last = drawn.file.getvalue().rpartition("1/2")[2]
    assert " ".join(f"dsgd-seed1 {told}".split()) in " ".join(last.split())


def test_a_terminal_that_is_too_narrow_for_two_columns_shows_names_and_values_below_each_other(
    fake_run,
):
    """On 20 columns there were names only."""
    run = fake_run("a")
    drawn = Console(file=io.StringIO(), force_terminal=True, width=20, color_system=None)
    Screen(drawn).end(run)
    shown = "".join(drawn.file.getvalue().split())
    told = "".join(f"{name}{text}" for name, text in outcome(run))
    assert "".join(told.split()) in shown


def test_at_the_end_every_number_says_of_when_it_is(fake_run):
    run = fake_run("a")
    run.summary.update(evaluated_rounds=8, recorded_rounds=9)
    told = dict(outcome(run))
    for name in ("test accuracy", "averaged model"):
        assert told[name].endswith(", after round 8 of 10")
    for name in ("consensus distance", "sent"):
        assert told[name].endswith(", after round 9 of 10")


def test_rounds_in_which_nobody_takes_part_have_no_loss_and_can_be_shown():
    """A run ended where its progress was to be told."""
    settings = {"topology": "ring4", "engine": "local", "impairments": {"participation": 0.01}}
    with Simulation(**settings) as sim:
        sim.advance(20)
        rows = sim.rows[0]
    lost = [row for row in rows if row["train_loss"] is None]
    assert lost
    assert seen(lost[-1:], lost[-1]["round"] + 1).startswith("loss -  test")


def test_a_sweep_logs_now_and_then_where_a_run_stands_that_is_under_way():
    now, drawn = [0.0], console(terminal=False)
    with SweepBar(drawn, lambda: now[0]) as bar:
        bar.grow(2)
        for now[0] in range(1, 22):
            bar.inside("dsgd-seed1", f"round {now[0]}/40")
        bar.done("dsgd-seed1", 0.9, failed=False)
        for now[0] in range(22, 33):
            bar.inside("dsgd-seed2", f"round {now[0] - 21}/40")
    assert drawn.file.getvalue().splitlines() == [
        "0/2  dsgd-seed1  round 10/40",
        "0/2  dsgd-seed1  round 20/40",
        "1/2  dsgd-seed1  90.0 %  21.0 s left",
        "1/2  dsgd-seed2  round 9/40  30.0 s left",
    ]


def test_a_sweep_logs_a_line_per_run_with_the_time_left_of_those_not_done_before():
    clock = iter([0.0, 40.0])  # made; one run ended: the other takes as long
    drawn = console(terminal=False)
    with SweepBar(drawn, lambda: next(clock, 80.0)) as bar:
        bar.grow(3)
        bar.skip(1)
        bar.done("dsgd-seed1", 0.9, failed=False)
        bar.done("dsgd-seed2", None, failed=True)
    assert drawn.file.getvalue().splitlines() == [
        "2/3  dsgd-seed1  90.0 %  40.0 s left",
        "3/3  dsgd-seed2  failed",
    ]


def test_a_run_from_python_is_silent_unless_asked(tmp_path, capsys):
    settings = {"topology": "ring4", "rounds": 2, "engine": "local", "out": str(tmp_path)}
    p2pqg.run(**settings)
    assert capsys.readouterr().out == ""
    run = p2pqg.run(**settings, quiet=False)
    assert str(run.path) in capsys.readouterr().out.replace("\n", "")


def test_names_between_colons_are_no_pictures(capsys):
    console_for_stdout().print("column:hospital: 3 samples", markup=False)
    assert capsys.readouterr().out == "column:hospital: 3 samples\n"


def test_a_log_gets_a_line_every_ten_seconds_and_later_every_minute():
    now = [0.0]
    lines = NowAndThen(lambda: now[0])
    told = []
    for now[0] in range(1, 301):
        if lines.due():
            told.append(now[0])
    assert told == [10, 20, 30, 40, 50, 60, 120, 180, 240, 300]


def test_a_line_of_the_log_says_round_loss_accuracy_and_time_left(fake_run):
    now = [100.0]
    drawn = console(terminal=False)
    settings = {"topology": "ring4", "model": "logistic", "rounds": 6, "eval_every": 2}
    with Simulation(engine="local", **settings) as simulation:
        screen = Screen(drawn, clock=lambda: now[0])
        screen.begin(simulation, Path("somewhere"))
        at_start = drawn.file.getvalue()
        simulation.advance(3)
        now[0] += 9  # too early for a line
        screen.recorded(simulation)
        assert drawn.file.getvalue() == at_start
        now[0] += 3  # 3 rounds took 12 s, so do the others
        screen.recorded(simulation)
        row = simulation.rows[0][-1]
    (line,) = drawn.file.getvalue().removeprefix(at_start).splitlines()
    assert line.startswith(f"round 3/6  loss {row['train_loss']:.3f}  test ")
    assert "% (round 2)" in line
    assert line.endswith("  12.0 s left")
    assert at_start.splitlines()[-1].split(maxsplit=1)[1] == str(Path("somewhere").absolute())


def test_the_time_left_is_not_told_by_the_first_round(fake_run):
    now = [0.0]
    drawn = console(terminal=False)
    with Simulation(engine="local", topology="ring4", model="logistic", rounds=5) as simulation:
        screen = Screen(drawn, clock=lambda: now[0])
        screen.begin(simulation, Path("somewhere"))
        at_start = drawn.file.getvalue()
        for seconds in (30, 5, 5):
            simulation.advance(1)
            now[0] += seconds
            screen.recorded(simulation)
    lines = drawn.file.getvalue().removeprefix(at_start).splitlines()
    assert ["left" in line for line in lines] == [False, True]
    assert lines[1].startswith("round 3/5")
    assert lines[1].endswith("  10.0 s left")


def test_the_time_left_is_not_told_by_what_a_lost_actor_cost(simulation):
    now = [0.0]
    drawn = console(terminal=False)
    screen = Screen(drawn, clock=lambda: now[0])
    screen.begin(simulation, Path("somewhere"))
    at_start = drawn.file.getvalue()
    start = simulation.round
    for round, now[0] in ((1, 30), (5, 50), (2, 150), (4, 220)):  # it went back to round 1
        stands = SimpleNamespace(round=start + round, num_rounds=start + 8, rows=([], []))
        screen.recorded(stands)
    lines = drawn.file.getvalue().removeprefix(at_start).splitlines()
    left = ["15.0 s left", None, "2 min 20 s left"]  # 20 s of 4 rounds, for 3; 70 s of 2, for 4
    assert [line.partition("  ")[2] or None for line in lines[1:]] == left


def test_who_lies_how_and_when_is_told_and_how_the_honest_do():
    told = {"who": [1, 2], "how": "sign-flip", "when": [2, 4]}
    settings = {"topology": "complete8", "engine": "local", "rounds": 6, "attacks": [told]}
    with Simulation(**settings, rule={"name": "trimmed-mean", "f": 2}) as sim:
        said = dict(about(sim))
    assert said["liars"] == "1, 2: sign-flip in rounds 2 to 4"
    assert said["rule"] == "trimmed-mean (f 2)"


def test_the_honest_are_told_by_themselves_at_the_end(tmp_path):
    told = {"who": [1, 2], "how": "label-flip"}
    settings = {"topology": "ring6", "engine": "local", "rounds": 4, "attacks": told}
    run = p2pqg.run(**settings, alpha=0.1, eval_every=2, out=str(tmp_path))
    honest = run.clients[(run.clients["round"] == 3) & ~run.clients["lied"]]["test_accuracy"]
    mean, low = 100 * honest.mean(), 100 * honest.min()
    assert dict(outcome(run))["of the honest"] == f"{mean:.2f} %, lowest {low:.2f} %"


CLOCK = {"topology": "ring6", "model": "logistic", "engine": "local", "eval_every": 100}


def test_what_a_run_ended_before_is_told_at_its_end(tmp_path):
    """An event at 400 s of a run of 6 s was passed over without a word."""
    scenario = [{"at": "3 s", "drop_clients": [2]}, {"at": "400 s", "restore_clients": "all"}]
    network = {"compute": "1 s"}
    run = p2pqg.run(**CLOCK, rounds=6, network=network, scenario=scenario, out=str(tmp_path))
    line = "scenario[1]: restore_clients at 400 s never came: the run ended at 6 s"
    assert ("scenario", line) in outcome(run)
    assert [text for _, _, text in notes([Standing.of(run)], ["a"])] == [line]


def test_what_is_done_again_and_again_says_where_it_ended_before_the_run_did(tmp_path):
    """How long a run is that ends on the clock is reckoned without what its scenario changes."""
    scenario = [
        {"at": "round 2", "set_network": {"compute": "0.5 s"}},
        {"every": "3 rounds", "set_lr": 0.01},
    ]
    network = {"compute": "1 s"}
    run = p2pqg.run(**CLOCK, time="6 s", network=network, scenario=scenario, out=str(tmp_path))
    assert run.summary["rounds"] == 2 + 8
    line = (
        "scenario[1] ended with round 5, which was reckoned to be the last; the run had 10 rounds"
    )
    assert ("scenario", line) in outcome(run)


def test_progress_knows_a_run_that_becomes_longer_than_was_reckoned():
    """It said round 9 of 6."""
    scenario = [{"at": "round 2", "set_network": {"compute": "0.5 s"}}]
    settings = {**CLOCK, "time": "6 s", "network": {"compute": "1 s"}, "scenario": scenario}
    told = []
    with Simulation(**settings) as sim:
        sim.finish(after=lambda sim: told.append(standing(sim).split("  ")[0]))
    assert told[-1] == "round 10/10"
    assert all(int(done) <= int(last) for done, last in (t[6:].split("/") for t in told))
