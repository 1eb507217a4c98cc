"""`p2pqg tune`."""

from __future__ import annotations

from pathlib import Path

import click

from p2pqg.cli.program import (
    debug_flag,
    main,
    print_lines,
    quiet_flag,
    set_flag,
    setting_flags,
)


@main.command()
@click.argument("recipe")
@setting_flags(("data_dir", "out"))
@click.option("--trials", type=click.IntRange(1), help="Of every method; default: the recipe's.")
@set_flag
@quiet_flag
@debug_flag
def tune(
    recipe: str,
    data_dir: str | None,
    out: str | None,
    trials: int | None,
    sets: tuple[str, ...],
    quiet: bool,
) -> None:
    """Search good values of settings with Optuna.

    It needs pip install 'p2pqg[tune]'. RECIPE has ranges under `tune:`, such as
    `lr: {log: [0.01, 1]}`. It may name several methods under `algorithm:`, which get equally many
    trials, and several seeds: the mean over them minus their deviation counts, on validation
    samples where `validation:` holds some out. Start it again to go on where it was stopped.
    """
    from p2pqg.base.dotted import set_dotted
    from p2pqg.base.wording import aligned, percent
    from p2pqg.recipe.own_files import check_place
    from p2pqg.recipe.settings import recipe as read_recipe
    from p2pqg.running import tuning

    values = read_recipe(recipe)
    for setting in sets:
        set_dotted(values, setting)
    if data_dir is not None:
        values["data_dir"] = data_dir
    check_place(values, recipe)
    plan = tuning.read_tuning(values, Path(recipe).stem, out, trials, recipe)
    tell = (lambda line: None) if quiet else click.echo
    found = tuning.tune(plan, tell)
    if quiet:
        return
    rows = []
    for best in found:
        told = ", ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in best.values.items()
        )
        texts = ["every trial diverged", "-", "-"]
        if best.runs is not None:
            accuracy = best.runs.summary.loc["test_accuracy"]
            spread = f" ± {percent(accuracy['std'], 2)}" if len(best.runs) > 1 else ""
            chosen = percent(best.runs.summary.loc[plan.by, "mean"], 2)
            texts = [told, chosen, f"{percent(accuracy['mean'], 2)}{spread}"]
        rows.append([best.method, str(best.trials), *texts])
    by = "validation" if plan.by.startswith("validation") else "chosen by"
    click.echo()
    print_lines(aligned(["method", "trials", "best", by, "test accuracy"], rows))
    if by != "validation":
        click.echo("chosen by the test accuracy itself: validation: 0.1 would hold samples out")
    click.echo(f"results: {plan.folder}")
