"""run() and resume(): a simulation from start, or from where it stopped, to results on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, overload

from typing_extensions import Unpack

from p2pqg.base.digest import bare
from p2pqg.base.errors import ConfigError
from p2pqg.base.steady import now
from p2pqg.base.text import folder_name, user_path, without_folders
from p2pqg.recipe.keywords import OfAnySeed, Restart, Resumed, Settings, with_keywords
from p2pqg.recipe.own import Own
from p2pqg.recipe.settings import RunConfig, read_settings
from p2pqg.results.checkpoint import CHECKPOINTS, newest
from p2pqg.results.directory import RunDirectory
from p2pqg.results.run import Run
from p2pqg.results.seeds import Runs, is_of_seeds, seeds_of
from p2pqg.running.crew import Crew
from p2pqg.running.leading import has_finished, lead
from p2pqg.running.observer import Observer, warn_unheard
from p2pqg.running.seeds import resume_seeds, run_seeds
from p2pqg.running.sinks import check_sinks, left_behind, with_sinks
from p2pqg.simulation.build import build
from p2pqg.simulation.going_on import as_kept, home_of
from p2pqg.simulation.moment import Moment
from p2pqg.simulation.simulation import Simulation


@overload
def run(
    *,
    quiet: bool = True,
    observer: Observer | None = None,
    sinks: Sequence[str] = (),
    jobs: int | None = None,
    started: float | None = None,
    **settings: Unpack[Settings],
) -> Run: ...


@overload
def run(
    *,
    seed: Sequence[int],
    quiet: bool = True,
    observer: Observer | None = None,
    sinks: Sequence[str] = (),
    jobs: int | None = None,
    started: float | None = None,
    **settings: Unpack[OfAnySeed],
) -> Runs: ...


@with_keywords(Settings.__annotations__)
def run(  # noqa: D417  its keywords are those of the overloads
    *,
    quiet: bool = True,
    observer: Observer | None = None,
    sinks: Sequence[str] = (),
    jobs: int | None = None,
    started: float | None = None,
    **settings: Any,
) -> Run | Runs:
    """One simulation, recorded under `out`. Its keywords are the keys of a recipe, and five more.

    Where a value is a part's name it may also be a mapping of that name and its parameters:
    `algorithm={"name": "dmsgd", "mu": 0.3}`.

    Args:
        quiet: False shows the run on stdout, as the command does.
        observer: told of the beginning, of new rows, and of the end.
        sinks: where rows go, too: csv, jsonl, watch, tensorboard, wandb, mlflow.
        jobs: of several seeds, how many run side by side at most, a process each; default: with the
            local engine as many as cores and memory allow, where that is faster.
        started: `time.time()` when the command began; default: now.
        topology: A network and its number of clients, ring16 or base25:k=2; or a file.
        clients: Number of clients, where the topology's name leaves it out.
        alpha: Dirichlet concentration, > 0. 0.1: clients see few classes; 100: nearly alike.
        partition: How data is split; default: qg-dirichlet with alpha, iid without.
        algorithm: A method, or one of a file: my_file.py:my_method; default: qg-dsgdm-n.
        dataset: What is learned; default: digits, which is embedded.
        data_dir: Where to look for the data set before it is downloaded.
        model: What learns; default: the data set's.
        loss: What is minimised; default: cross-entropy; of numbers mse.
        metrics: What is measured beside accuracy and loss: f1, top5, my_metrics.py:auc.
        test: own: each model is tested on its client's own mix of labels, too.
        validation: Share of the training samples that is held out before they are split, in [0, 1).
        personal: Names of parameters that never leave their client: head.*
        stop: When to end early: {when: test_accuracy >= 0.95}, or {patience: 5}; see
            `p2pqg.recipe.stopping.Stop`.
        callbacks: What is told of rows and evaluations: my_file.py:on_round.
        epochs: Passes over the clients' own data, in place of rounds.
        rounds: Communication rounds; default 500, if nothing else is set. Where clients do not
            wait, a round is as many steps as there are clients.
        steps: End when every client has made so many steps.
        time: End at this time of the simulated clock: in seconds, or as 600 s, 10 min.
        planned_rounds: The length that milestones and phases are fractions of, where a run went on
            beyond it.
        planned_epochs: The same in epochs.
        batch_size: Samples per client and step.
        lr: Learning rate, > 0.
        lr_schedule: How lr changes: warm-up, milestones, scaling; see
            `p2pqg.algorithms.lr.LrSchedule`.
        momentum: The algorithm's beta.
        local_steps: Gradient steps between two exchanges, where the algorithm has them; default:
            its own.
        local_epochs: The same in passes over a shard of mean size, e.g. 0.5.
        consensus: Consensus control: gossip repeated until the clients agree well enough; see
            `p2pqg.algorithms.control.Consensus`.
        rule: What a receiver makes of its inbox, see `p2pqg list rules`, or one of a file,
            my_file.py:my_rule; default: the sum weighted by W.
        privacy: Noise on gradients clipped sample by sample: {clip: 1.0, sigma: 0.5}; see
            `p2pqg.algorithms.privacy.Privacy`.
        weight_decay: Added to the gradient as weight_decay * x, >= 0.
        seed: Seed of everything random, below 2**32; several, 1,2,3, make a run each.
        device: Where clients compute; auto: on GPUs where there are any.
        precision: Of matrix products and convolutions; with bf16 and fp16 states and gradients are
            float32.
        engine: Ray actors, or local: in this process, without Ray, with the same numbers.
        clients_per_actor: Clients that share one Ray actor; auto: what suits the machine.
        transport: How rows travel between actors; direct: by Ray's direct transport, which is
            alpha.
        capture: On a GPU: steps are captured once and replayed, where that is right and faster;
            rehearse: the same without graphs, on any device.
        eval_every: Rounds between evaluations; default: a hundred a run, fewer where they cost over
            a tenth.
        eval_first: Evaluate after the first round, too; default: if it is cheap and eval_every was
            not set.
        record_every: Rounds between rows of rounds.parquet; default: about a hundred rows.
        out: Folder of results; each run has a directory of its own in it.
        name: That directory's name; default: topology, algorithm and time.
        address: A running Ray cluster; none: a Ray of our own, as by default.
        network: Speed of links and clients: then there is a simulated clock; see
            `p2pqg.network.ClockParams`.
        impairments: What goes wrong in every round: messages lost or late, clients that sit out,
            noise; see `p2pqg.network.Impairments`.
        attacks: Who lies, how and when, see `p2pqg.network.lies`; ways to lie: `p2pqg list
            attacks`.
        scenario: What happens when, see `p2pqg.network.scenario`.
        checkpoint_every: Seconds between checkpoints, the last two of which are kept; 0: none, not
            even at the end.
        max_restarts: How often actors that died are replaced, >= 0.
        profile: Say where the time of a round goes, and write trace.json for chrome://tracing.

    Returns:
        The run as `p2pqg.load` would give it; of several seeds all of them, with their mean and
        spread in `summary`.

    Warns (`p2pqg.errors.Notice`), where nobody watches, of what is allowed but should be known, of
    the data, say, a line each.

    Raises:
        ConfigError: the settings are wrong; nothing was started.
        RunError: diverged, lost its actors too often, or stopped; results so far are on disk, and
            `resume` goes on from there.
    """
    check_sinks(sinks)
    if (several := seeds_of(settings.get("seed"))) is not None:
        with _watching(quiet, observer) as observer:
            return run_seeds(several, settings, begin, Crew(jobs, observer, sinks))
    Crew(jobs, observer, sinks)
    return begin(
        *read_settings(settings),
        observer=observer,
        started=started,
        watching=partial(_watching, quiet, sinks=sinks),
        notes=_of_jobs(jobs),
    )


def begin(
    config: RunConfig,
    own: Own,
    *,
    observer: Observer | None = None,
    started: float | None = None,
    watching: Callable[[Observer | None], AbstractContextManager[Observer | None]] = nullcontext,
    notes: Sequence[str] = (),
    kept: tuple[Mapping[str, Any], Path] | None = None,
) -> Run:
    """One run, of settings that were read.

    Args:
        config: from `read_settings`.
        own: from there.
        observer: as of `run`.
        started: as of `run`.
        watching: who else watches, once all has been checked.
        notes: what a user should know, a line each.
        kept: names and folder of what another seed has kept, see `as_kept`.

    Raises:
        P2pqgError: as of `run`.
    """
    started = now() if started is None else started
    experiment = build(config, own)
    if kept:
        experiment = as_kept(experiment, *kept)
    config = experiment.config
    stem = folder_name(
        f"{without_folders(bare(config.topology))}-{experiment.config.algorithm['name']}"
    )
    directory = _new_directory(config.out, config.name, stem)
    with watching(observer) as observer:

        def start() -> Simulation:
            for line in [*experiment.warnings, *notes]:
                warn_unheard(observer, line)
            return Simulation(experiment, started=started)

        return lead(start, directory, observer, [*notes])


@with_keywords(Restart.__annotations__)
def resume(
    path: str | Path,
    *,
    quiet: bool = True,
    replan: bool = False,
    observer: Observer | None = None,
    sinks: Sequence[str] = (),
    jobs: int | None = None,
    started: float | None = None,
    **settings: Unpack[Resumed],
) -> Run | Any:
    """Go on with a run that was stopped or killed, or with a finished one for more rounds.

    Of several seeds with those that are missing; then it returns `Runs`.

    Args:
        path: its directory; or a checkpoint, with `out` or `name` for a run of its own.
        quiet: as of `run`.
        replan: with other rounds or epochs: milestones and phases, which are fractions, are those
            of the new length from here on; by default they stay where they were planned. Then
            config.yaml does not repeat what happened before.
        observer: as of `run`.
        sinks: as of `run`.
        jobs: as of `run`.
        started: as of `run`.
        settings: what shall differ: how long it runs, where its results go, how it computes; and
            objects of Python that it could not keep.

    Warns (`p2pqg.errors.Notice`), where nobody watches, of code that is not what the run began with
    and the like.

    Raises:
        ConfigError: nothing to go on from, nothing left to do, newer rounds are there, or a
            setting that cannot change.
        RunError: as of `run`.
    """
    check_sinks(sinks)
    path = user_path(path)
    if is_of_seeds(path):
        with _watching(quiet, observer) as observer:
            again, crew = partial(resume, replan=replan), Crew(jobs, observer, sinks)
            return resume_seeds(path, settings, begin, again, crew, replan)
    Crew(jobs, observer, sinks)
    if not path.exists():
        raise ConfigError(f"{path}: no such run directory")
    home = home_of(path)
    changes: dict[str, Any] = {**settings}
    elsewhere = {key: changes.pop(key) for key in ("out", "name") if changes.get(key)}
    is_there = home is not None and home.is_dir()
    in_place = RunDirectory.reopen(home) if home and is_there and not elsewhere else None
    with in_place or nullcontext():
        if in_place:
            in_place.reserve()  # now nobody else goes on with it while we look where it stands
        news: list[str] = []
        moment = Moment.newest(path, tell=news.append, replan=replan, **changes)
        done = moment.log.round
        if moment.stopped and home == path:
            raise ConfigError(
                f"{path} stopped after {done} rounds: {moment.stopped}; nothing is left"
            )
        if done >= moment.experiment.num_rounds and (home is None or has_finished(home)):
            config = moment.experiment.config
            key = config.ends if config.ends in ("steps", "time") else "rounds"
            raise ConfigError(f"{path} has done all its {done} rounds; ask for more with --{key}")
        if home and in_place and home != path:
            _check_nothing_is_newer(home, path)
        out = elsewhere.get("out") or (str(home.parent) if home else moment.experiment.config.out)
        directory = in_place or _new_directory(out, elsewhere.get("name"), (home or path).name)
        if in_place:
            news += left_behind(in_place.path, sinks, observer)
            there = any(newest(in_place.path / CHECKPOINTS))
            if there and not moment.experiment.config.checkpoint_every:
                news.append("checkpoint_every 0 keeps none: older checkpoints go at its end, too")
        if quiet:
            for line in news:  # what is not as it was
                warn_unheard(observer, line)
        with _watching(quiet, observer, sinks) as observer:
            notes = [*_of_jobs(jobs), *news]
            return lead(
                lambda: Simulation.at(moment, started),
                directory,
                observer,
                notes,
                branch_of=None if in_place else moment,
            )


def _of_jobs(jobs: int | None) -> list[str]:
    """A line that says that nothing can be done side by side, if it was asked for."""
    return [] if jobs in (None, 1) else [f"jobs {jobs} is ignored: there is one seed"]


def _new_directory(out: str, name: str | None, stem: str) -> RunDirectory:
    return RunDirectory(out, name) if name else RunDirectory.fresh(out, stem)


def _check_nothing_is_newer(home: Path, checkpoint: Path) -> None:
    later = next((c for c in newest(home / CHECKPOINTS) if c.name > checkpoint.name), None)
    if later:
        raise ConfigError(
            f"{home} has a newer checkpoint, {later.name}; resume {home}, or give the branch "
            "a --name of its own"
        )


@contextmanager
def _watching(
    quiet: bool, observer: Observer | None, sinks: Sequence[str] = ()
) -> Iterator[Observer | None]:
    """The observer given, or a screen, or nobody; and the sinks."""
    with ExitStack() as stack:
        if not (quiet or observer):
            from p2pqg.running.screen import Screen

            observer = stack.enter_context(Screen())
        yield stack.enter_context(with_sinks(sinks, observer))
