"""`p2pqg sweep` and `p2pqg table`."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from p2pqg.base.errors import ConfigError
from p2pqg.base.text import typed
from p2pqg.cli.program import (
    SHARE,
    debug_flag,
    main,
    print_lines,
    quiet_flag,
    set_flag,
    setting_flags,
    tell_on_stderr,
    tier_flag,
)


@main.command()
@click.argument("recipe")
@tier_flag
@setting_flags(("data_dir", "out"))
@click.option("--jobs", type=click.IntRange(1), help="Runs at a time; default: the GPUs or cores.")
@click.option("--retry", is_flag=True, help="Run again what failed before.")
@set_flag
@quiet_flag
@debug_flag
def sweep(
    recipe: str,
    tier: str | None,
    data_dir: str | None,
    out: str | None,
    jobs: int | None,
    retry: bool,
    sets: tuple[str, ...],
    quiet: bool,
) -> None:
    """Run a grid of simulations, make a figure, or both.

    RECIPE has a mapping `sweep:` of keys to lists of values, or a `figure:`; what it says under
    `claim:` is judged in the end. Start it again to go on where it was stopped.
    """
    changes = Changes(tier, out, data_dir, sets)
    carry_out_recipe(recipe, changes, jobs, retry=retry, quiet=quiet)


class Changes(NamedTuple):
    """What flags change in a recipe; None: nothing."""

    tier: str | None
    out: str | None
    data_dir: str | None
    sets: Sequence[str]


def carry_out_recipe(
    recipe: str, changes: Changes, jobs: int | None, *, retry: bool = False, quiet: bool = False
) -> None:
    """Run what a recipe has to be run, make its figure, and judge its claims."""
    from p2pqg.base.dotted import set_dotted
    from p2pqg.recipe.own_files import check_place
    from p2pqg.recipe.settings import recipe as read_recipe
    from p2pqg.recipe.tiers import at_tier, choice, usual_tier
    from p2pqg.results.claims import read_claims
    from p2pqg.running import grid

    given = read_recipe(recipe)
    tier, out, data_dir, sets = changes
    values = at_tier(given, tier, recipe)
    if tier is None and (tier := usual_tier(given)) and not quiet:
        click.echo(choice(given, tier))
    for setting in sets:
        set_dotted(values, setting)
    if data_dir is not None:
        values["data_dir"] = data_dir
    if not {"sweep", "figure"} & values.keys():
        raise ConfigError(f"{recipe} is one run; use `p2pqg run {typed(recipe)}`")
    check_place(values, recipe)
    name = "-".join(filter(None, [Path(recipe).stem, tier]))
    folder = grid.folder_of(values, name, out, recipe)
    with _naming(recipe):
        claims = read_claims(values.get("claim"))
        if "figure" in values:
            from p2pqg.paper.figures import read_figure, run_figure

            read_figure(values)  # before hours go into its runs
    if "sweep" in values:
        carry_out_sweep(grid.read_sweep(values, name, out, recipe), jobs, retry, quiet)
    if "figure" in values:
        drawing = run_figure(values, folder)
        if not quiet:
            click.echo(f"figure: {drawing}")
    if claims and not quiet:
        from p2pqg.results.claims import judge_folder, lines

        click.echo()
        for line in lines(judge_folder(folder, claims)):
            click.echo(line)


@contextlib.contextmanager
def _naming(recipe: str) -> Iterator[None]:
    """What is wrong is told with the recipe that says it."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError.of(error.lines, recipe) from None


def carry_out_sweep(plan: Any, jobs: int | None, retry: bool, quiet: bool) -> None:
    """Do what is left of a sweep, show its table, and say what did not go well."""
    from p2pqg.running.sweep import run_sweep

    with contextlib.ExitStack() as stack:
        bar = None
        if not quiet:
            from p2pqg.running.screen import SweepBar

            bar = stack.enter_context(SweepBar())
        failures = run_sweep(plan, jobs, bar, retry=retry)
    if quiet:
        return
    click.echo()
    print_table([plan.folder], show_lr=plan.tune is not None)
    click.echo()
    for cell in plan.open_cells():
        click.echo(f"not tuned: {cell}: the best {plan.tune} is at the edge of what was tried")
    for name, reason in failures.items():
        click.echo(f"failed: {name}: {reason}")
    click.echo(f"results: {plan.folder.absolute()}")


@main.command()
@click.argument("directories", nargs=-1, required=True, metavar="DIR...")
@click.option(
    "--format", "style", type=click.Choice(["markdown", "csv", "latex"]), default="markdown"
)
@click.option(
    "--paper",
    metavar="TABLE",
    help="table1 ... table6 of the paper beside ours, or none; default: the recipe's.",
)
@click.option("--show-lr", is_flag=True, help="Say which learning rate was the best of a cell.")
@click.option("--costs", is_flag=True, help="Say what a run took: gradients, bytes sent.")
@click.option(
    "--to-accuracy",
    type=SHARE,
    multiple=True,
    help="Say what each took to a test accuracy, e.g. 90%; may be repeated.",
)
@click.option("--export", metavar="FOLDER", help="Write the runs there, in one small Parquet file.")
@debug_flag
def table(
    directories: tuple[str, ...],
    style: str,
    paper: str | None,
    show_lr: bool,
    costs: bool,
    to_accuracy: tuple[float, ...],
    export: str | None,
) -> None:
    """Tabulate all runs below DIR.

    Mean and standard deviation (n - 1) over seeds, in the layout of the paper's tables, and beside
    its numbers. Where a cell has several learning rates, the one with the best mean minus deviation
    counts.

    With --to-accuracy a second table says after how many rounds, bytes and simulated seconds the
    clients' mean came to it, on straight lines between evaluations. There ± is what is larger, the
    standard deviation over seeds or half the distance of two evaluations.
    """
    from p2pqg.results.search import with_runs

    directories = tuple(map(str, with_runs(directories, tell=tell_on_stderr)))
    print_table(directories, style, paper, show_lr=show_lr, show_costs=costs)
    if to_accuracy:
        from p2pqg.results.cells import cells
        from p2pqg.results.reaching import reaching
        from p2pqg.results.run_frames import read_runs

        click.echo()
        print_lines(reaching(cells(read_runs(directories)), to_accuracy))
    if export:
        from p2pqg.results import run_frames

        run_frames.export(
            run_frames.read_runs(directories), run_frames.recipe_of(directories), export
        )
        click.echo(f"exported: {export}", err=True)


def print_table(
    directories: Sequence[str | Path],
    style: str = "markdown",
    paper: str | None = None,
    **shown: bool,
) -> None:
    """The table of all runs below the directories; on stderr, how many did not count."""
    from p2pqg.base.wording import counted
    from p2pqg.paper import tables
    from p2pqg.paper.published import published
    from p2pqg.results.cells import cells
    from p2pqg.results.run_frames import read_runs, recipe_of
    from p2pqg.results.search import num_unfinished

    paper = paper or recipe_of(directories).get("paper")
    beside = published(paper) if paper not in (None, "none") else None
    found = cells(read_runs(directories))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    text = tables.table(found, style, paper=beside, max_width=width, **shown)
    click.echo(text, nl=False)
    left_out = num_unfinished(directories)
    if left_out:
        click.echo(f"left out, since they did not finish: {counted(left_out, 'run')}", err=True)
