"""`p2pqg run` and `p2pqg resume`."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from p2pqg.base.errors import ConfigError, Notice, RunError, StoppedError
from p2pqg.base.text import json_text, typed, user_path
from p2pqg.cli.program import (
    FLAGS,
    command_started,
    debug_flag,
    main,
    print_lines,
    quiet_flag,
    set_flag,
    setting_flags,
    tier_flag,
)
from p2pqg.recipe.keys import RESTART
from p2pqg.running.sinks import SINKS

if TYPE_CHECKING:
    from p2pqg.results.run import Run
    from p2pqg.results.seeds import Runs


def sink_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """A flag for every sink, which the command gets as the names of those that were given."""

    @functools.wraps(command)
    def with_names(*args: Any, **given: Any) -> Any:
        sinks = [name for name in SINKS if given.pop(name)]
        return command(*args, sinks=sinks, **given)

    flagged: Callable[..., Any] = with_names
    for name, (_, _, words) in reversed(SINKS.items()):
        flagged = click.option(f"--{name}", is_flag=True, help=words)(flagged)
    return flagged


jobs_flag = click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Of several seeds, how many run side by side; default: by cores and memory, if faster.",
)
json_flag = click.option(
    "--json", "as_json", is_flag=True, help="Print the summary, and only it, on stdout."
)


@main.command()
@click.argument("recipe", required=False)
@setting_flags(tuple(FLAGS))
@tier_flag
@set_flag
@click.option(
    "--profile", is_flag=True, default=None, help="Say where the time of a round goes; a trace too."
)
@jobs_flag
@sink_flags
@json_flag
@quiet_flag
@debug_flag
def run(
    recipe: str | None,
    tier: str | None,
    sets: tuple[str, ...],
    jobs: int | None,
    sinks: list[str],
    as_json: bool,
    quiet: bool,
    **flags: str | None,
) -> None:
    """Run one simulation.

    RECIPE is a file or the name of a shipped one; flags override its keys. `p2pqg list` has the
    names of networks, algorithms, data sets and models.
    """
    started = command_started()
    with observed(as_json, quiet) as observer:
        settings = merged(recipe, flags, sets, tier, observer.noted if observer else None)
        from p2pqg.running.single import run as simulate

        with telling(as_json, quiet) as tell:
            how = {"observer": observer, "sinks": sinks, "jobs": jobs, "started": started}
            tell(simulate(**how, **settings))


@main.command()
@click.argument("run_dir", metavar="RUN_DIR")
@setting_flags([key for key in FLAGS if key in RESTART])
@click.option(
    "--replan", is_flag=True, help="Milestones and phases are fractions of the new length."
)
@jobs_flag
@sink_flags
@json_flag
@quiet_flag
@debug_flag
def resume(
    run_dir: str,
    replan: bool,
    jobs: int | None,
    sinks: list[str],
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Go on with a run that was stopped or killed.

    From its last checkpoint, with the same numbers as if nothing had happened; or from the end,
    with more --rounds. RUN_DIR may also be one of its checkpoints: then say --name.
    """
    started = command_started()
    with observed(as_json, quiet) as observer:
        from p2pqg.running.single import resume as go_on

        with telling(as_json, quiet) as tell:
            how = {"observer": observer, "sinks": sinks, "jobs": jobs, "started": started}
            tell(go_on(run_dir, replan=replan, **how, **flags))


@contextlib.contextmanager
def telling(as_json: bool, quiet: bool) -> Iterator[Callable[[Run | Runs], None]]:
    """Prints the summary of the run that it is given, if asked; of one that failed inside, too.

    Of several seeds their mean and spread, unless nothing is to be printed.
    """

    def tell(run: Run | Runs) -> None:
        from p2pqg.results.seeds import Runs

        if as_json:
            click.echo(json_text(run.as_json() if isinstance(run, Runs) else run.summary))
        elif isinstance(run, Runs) and not quiet:
            try:
                click.echo()
                if len(run.lines()) > 1:  # else none came to its end
                    print_lines(run.lines())
                click.echo(f"results: {run.path.absolute()}")
            except KeyboardInterrupt:
                raise StoppedError(f"stopped; {run.what_next}") from None

    try:
        yield tell
    except RunError as error:
        with contextlib.suppress(ConfigError):  # it did not come so far
            if error.results is not None:
                from p2pqg.results.seeds import load

                tell(load(error.results))
        raise


@contextlib.contextmanager
def observed(as_json: bool, quiet: bool) -> Iterator[Any]:
    """Who watches a run: a screen, or None; who wants quiet hears of no notes, either."""
    if quiet:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Notice)
            yield None
        return
    if as_json:
        yield None
        return
    from p2pqg.running.screen import Screen

    with Screen() as screen:
        yield screen


def merged(
    recipe: str | None,
    flags: dict[str, str | None],
    sets: tuple[str, ...],
    tier: str | None = None,
    tell: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """A recipe's settings at a tier, overridden by flags, overridden by --set.

    A flag for the length of the run replaces the recipe's, whatever it is in; one for the
    network replaces its number of clients too. `tell` hears of a tier that nobody chose.

    Raises:
        ConfigError: the recipe alone is wrong already, or is that of a sweep.
    """
    from p2pqg.base.dotted import assign, set_dotted
    from p2pqg.recipe import own_files
    from p2pqg.recipe.settings import ENDS, read_config
    from p2pqg.recipe.settings import recipe as read_recipe
    from p2pqg.recipe.tiers import at_tier, choice, usual_tier
    from p2pqg.results.seeds import seeds_of

    settings: dict[str, Any] = {}
    if recipe is None and tier is not None:
        raise ConfigError(f"--tier {tier} needs a recipe that comes in tiers")
    if recipe is not None:
        tiers = read_recipe(recipe)
        settings = at_tier(tiers, tier, recipe)
        for key in ("sweep", "figure"):
            if key in settings:
                raise ConfigError(f"{recipe} is a {key}; use `p2pqg sweep {typed(recipe)}`")
        settings.pop("source", None)
        # In a run's directory copies of the user's own files lie beside the recipe.
        settings |= own_files.from_copies(
            settings, user_path(recipe).parent, tell or (lambda line: None)
        )
        seeds = seeds_of(settings.get("seed"))
        one = {"seed": seeds[0]} if seeds else {}
        read_config(settings | one, where=recipe)  # for errors that name the file
        if tier is None and tell and (tier := usual_tier(tiers)):
            tell(choice(tiers, tier))
    keys = {key.replace(".", "_"): key for key in FLAGS}
    given = {keys.get(name, name): value for name, value in flags.items() if value is not None}
    if given.keys() & set(ENDS):
        settings = {k: v for k, v in settings.items() if k not in ENDS}
    if "topology" in given:  # the recipe's number of clients is that of its own network
        settings.pop("clients", None)
    for key, value in given.items():
        assign(settings, key, value)
    for setting in sets:
        set_dotted(settings, setting)
    if recipe is not None:
        own_files.check_place(settings, recipe)
    return {key.replace("-", "_"): value for key, value in settings.items()}
