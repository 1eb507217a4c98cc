"""`p2pqg claims`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pqg.base.text import user_path
from p2pqg.cli.program import (
    debug_flag,
    main,
    quiet_flag,
    set_flag,
    setting_flags,
    tier_flag,
)
from p2pqg.cli.sweeping import Changes, carry_out_recipe

if TYPE_CHECKING:
    from p2pqg.results.claims import Claim, Verdict

NOT_RUN = "not run"


@main.command("claims")
@click.argument("recipe", required=False)
@tier_flag
@setting_flags(("data_dir", "out"))
@click.option("--jobs", type=click.IntRange(1), help="Runs at a time; default: the GPUs or cores.")
@click.option("--results", metavar="FOLDER", help="Of results to judge; default: the shipped ones.")
@click.option("--markdown", is_flag=True, help="The list as a Markdown table.")
@set_flag
@quiet_flag
@debug_flag
def claims(
    recipe: str | None,
    tier: str | None,
    data_dir: str | None,
    out: str | None,
    jobs: int | None,
    results: str | None,
    markdown: bool,
    sets: tuple[str, ...],
    quiet: bool,
) -> None:
    """List what the papers claim, and whether it holds here.

    Without RECIPE: all claims of the shipped recipes, where they come from, how long their tiers
    take, and the verdict on the results that are there, by the rule in the recipe. With it: do its
    runs and judge them, as `p2pqg sweep` does.
    """
    from p2pqg.base.errors import ConfigError
    from p2pqg.base.shipped import shipped_folder
    from p2pqg.recipe.settings import recipe as read_recipe

    if recipe is not None:
        if not any("claim" in one for one in _levels(read_recipe(recipe))):
            raise ConfigError(f"{recipe} makes no claim; state it under `claim:`")
        carry_out_recipe(recipe, Changes(tier, out, data_dir, sets), jobs, quiet=quiet)
        return
    folder = user_path(results) if results else shipped_folder("runs") / "results"
    if results and not folder.is_dir():
        raise ConfigError(f"--results must be a folder, got {results}")
    if not quiet:
        for line in (_table if markdown else _list)(list(stated(folder))):
            click.echo(line)


def _levels(values: dict[str, Any]) -> list[dict[str, Any]]:
    """A recipe, and its tiers."""
    return [values, *(values.get("tiers") or {}).values()]


class Stated:
    """The claims of a recipe at one of its tiers, and what became of them.

    Attributes:
        recipe: its name; source: of the claims; takes: tier -> how long it takes.
        tier: whose results were judged; "" for a recipe without tiers.
        claims: by name.
        verdicts: by name of the claim; {} where nothing was run.
        problem: why they cannot be judged, or "".
    """

    def __init__(self, recipe: str, values: dict[str, Any], results: Path, tier: str) -> None:
        """Judge what is there."""
        from p2pqg.base.errors import ConfigError
        from p2pqg.recipe.tiers import TAKES, at_tier
        from p2pqg.results.claims import judge_folder, read_claims

        tiers = values.get("tiers") or {}
        self.recipe, self.source = recipe, str(values.get("source", ""))
        self.takes = {tier: str(changes.get(TAKES, "")) for tier, changes in tiers.items()}
        self.tier = tier
        at = at_tier(values, self.tier or None, recipe)
        self.claims: dict[str, Claim] = read_claims(at.get("claim"))
        self.verdicts: dict[str, Verdict] = {}
        self.problem = ""
        folder = results / "-".join(filter(None, [recipe, self.tier]))
        if folder.is_dir():
            try:
                found = judge_folder(folder, self.claims)
                self.verdicts = {verdict.name: verdict for verdict in found}
            except ConfigError as error:
                self.problem = error.lines[0]

    def result(self, name: str) -> str:
        """The verdict in words."""
        if name in self.verdicts:
            return self.verdicts[name].result
        return f"cannot be judged: {self.problem}" if self.problem else NOT_RUN


def stated(results: Path) -> Iterator[Stated]:
    """The shipped recipes that make claims, judged by what lies in a folder of results.

    A recipe is there once for each of its tiers that has results and makes claims; once if none.
    """
    from p2pqg.base.config import load_yaml
    from p2pqg.base.shipped import shipped_folder
    from p2pqg.recipe.tiers import at_tier, usual_tier

    for path in sorted(shipped_folder("runs").glob("*.yaml")):
        values = load_yaml(path)
        if not any("claim" in one for one in _levels(values)):
            continue
        tiers = [
            tier
            for tier in values.get("tiers") or {}
            if (results / f"{path.stem}-{tier}").is_dir()
            and at_tier(values, tier, path.stem).get("claim")
        ]
        for tier in tiers or [usual_tier(values) or ""]:
            yield Stated(path.stem, values, results, tier)


def _list(found: list[Stated]) -> Iterator[str]:
    """A block per recipe, a line or two per claim."""
    from p2pqg.results.claims import over_seeds

    for one in found:
        takes = ", ".join(f"{tier} takes {time}" for tier, time in one.takes.items() if time)
        head = click.style(one.recipe, bold=True) + (f"  ({one.source})" if one.source else "")
        yield head + (f"  {takes}" if takes else "")
        for name, claim in one.claims.items():
            at = f" at tier {one.tier}" if one.tier and name in one.verdicts else ""
            yield f"  {one.result(name)}{at}: {claim.says}"
            if name in one.verdicts:
                verdict = one.verdicts[name]
                yield f"    {verdict.rule}; {over_seeds([verdict])}"
                yield f"    {'; '.join(verdict.numbers)}"
        yield ""
    yield "`p2pqg claims RECIPE --tier TIER` runs one and judges it."


def _table(found: list[Stated]) -> list[str]:
    """A row per claim."""
    from p2pqg.base.wording import markdown_table

    rows = []
    for one in found:
        for name, claim in one.claims.items():
            numbers = "; ".join(one.verdicts[name].numbers) if name in one.verdicts else ""
            ran = "-".join(filter(None, [one.recipe, one.tier]))
            rows.append([claim.says, f"`{ran}`", one.result(name), numbers])
    return markdown_table(["Claim", "Recipe", "Verdict", "Mean [95 % interval]"], rows)
