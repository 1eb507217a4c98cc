"""Pages of the handbook that are made of the code: run by mkdocs (gen-files), never by hand.

recipes.md, results.md, algorithms.md, networks.md and the tables of scenarios.md: what they say is
what the code says, so they cannot be out of date.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import io
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any, get_type_hints

import mkdocs_gen_files
import numpy as np

from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.config import describe_type, sentences
from p2pqg.base.registry import Entry
from p2pqg.base.wording import markdown_table
from p2pqg.cli.catalogue import needs_of
from p2pqg.data._tables import Columns
from p2pqg.network.compute import DISTRIBUTIONS
from p2pqg.network.links import CLASSES, PER_WORDS
from p2pqg.network.params import ClockParams
from p2pqg.network.verbs import VERBS
from p2pqg.plots import draw_network
from p2pqg.recipe.settings import NESTED, RunConfig
from p2pqg.results import schemas
from p2pqg.running.sinks import SINKS, kind_of
from p2pqg.simulation.simulation import Simulation
from p2pqg.theory.doctor import examine
from p2pqg.theory.doctor_text import sheet
from p2pqg.topology import TOPOLOGIES, Schedule, build


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(markdown_table(header, rows))


def fields(cls: type, prefix: str = "", without: tuple[str, ...] = ()) -> str:
    """A table of what may be set: key, type, default, sentence."""
    said, hints = sentences(cls), get_type_hints(cls)

    def rows() -> Iterator[list[str]]:
        for field in dataclasses.fields(cls):
            if field.name not in without:
                kind = describe_type(hints[field.name])
                what = said.get(field.name, "")
                yield [f"`{prefix}{field.name}`", escape(kind), default_of(field), escape(what)]

    return table(["Key", "Type", "Default", "What"], rows())


def default_of(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
        if dataclasses.is_dataclass(value):
            return "see below"
    else:
        return "must be given"
    if value is None:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def recipes() -> str:
    return "\n\n".join(
        [
            "# Recipes",
            "A recipe is a YAML file; its keys are the flags of `p2pqg run` (`--batch-size` is "
            "`batch_size`), the keywords of `p2pqg.run`, and what `--set KEY=VALUE` sets. A part "
            "(algorithm, dataset, model, partition) is a name, or a mapping of its name and its "
            "parameters: `algorithm: {name: qg-dsgdm-n, mu: 0.95}`.",
            fields(RunConfig),
            "## Data of your own: `dataset`",
            fields(Columns, "dataset."),
            *(
                part
                for key, kind in {**NESTED, "network": ClockParams}.items()
                for part in (f"## {key}", inspect.getdoc(kind) or "", fields(kind, f"{key}."))
            ),
        ]
    )


def results() -> str:
    def columns(known: dict[str, str]) -> str:
        return table(
            ["Column", "Type", "What"],
            ([f"`{name}`", kind, escape(schemas.MEANING[name])] for name, kind in known.items()),
        )

    return "\n\n".join(
        [
            "# Results",
            "One directory per run, below `runs/out`. Files are written under another name and "
            "renamed, so a killed run leaves whole ones. `p2pqg.load(path)` reads them.",
            table(["File", "What"], ([f"`{k}`", escape(v)] for k, v in schemas.FILES.items())),
            "## rounds.parquet",
            "One row per recorded round; null where not measured.",
            columns(schemas.ALL_ROUND_COLUMNS),
            "## clients.parquet",
            "One row per evaluation and client.",
            columns(schemas.CLIENT_COLUMNS),
            "## In both, where a recipe asks for it",
            "And each of its `metrics` under its name: a client's own, and in rounds the mean over "
            "the clients; beside it `averaged_` and its name, that of the mean of all models.",
            columns(schemas.ASKED_COLUMNS),
            "## links.parquet",
            "Where links have a speed: what went over each directed link.",
            columns(schemas.LINK_COLUMNS),
            "## changes.parquet",
            "What became of the network; `p2pqg watch` and reports draw it as it was.",
            columns(schemas.CHANGE_COLUMNS),
            "## Sinks",
            "Flags of `p2pqg run` and `p2pqg resume`, names for `p2pqg.run(sinks=[...])`: where "
            "the rows of rounds.parquet go, too, each once. See [Where people keep their results]"
            "(own.md#where-people-keep-their-results).",
            table(["Flag", "Needs", "What"], sinks()),
        ]
    )


def sinks() -> Iterator[list[str]]:
    for name, (_, _, words) in SINKS.items():
        package = kind_of(name).package
        yield [f"`--{name}`", f"`pip install 'p2pqg[{name}]'`" if package else "", escape(words)]


def algorithms() -> Iterator[tuple[str, str]]:
    """(path, text) of the overview and of a page each."""
    rows = []
    for name, entry in sorted(ALGORITHMS.items()):
        page = f"algorithms/{name}.md"
        rows.append([f"[`{name}`]({page})", entry.summary, needs_of(entry), entry.source])
        yield page, algorithm(name, entry)
    yield (
        "algorithms.md",
        "# Algorithms\n\nEach is a generator of one screen; a page shows its formulas, its code "
        "and what may be set.\n\n"
        + table(["Algorithm", "What", "Needs of W", "Source"], rows)
        + "\n",
    )


def algorithm(name: str, entry: Entry) -> str:
    module = importlib.import_module(entry.build.__module__)
    said = (module.__doc__ or "").strip()
    notes = []
    if entry.traits.get("reconstruction"):
        notes.append("!!! note\n    Written from secondary sources: a reconstruction.")
    return "\n\n".join(
        [
            f"# {name}",
            entry.summary,
            f"Source: {entry.source}. Needs of W: {needs_of(entry)}.",
            *notes,
            f"```text\n{said}\n```",
            "## One round",
            f"```python\n{inspect.getsource(inspect.unwrap(entry.build))}```",
            "## Parameters",
            fields(entry.params, "algorithm.", without=("lr",)),
        ]
    )


def networks() -> Iterator[tuple[str, str | bytes]]:
    """(path, content) of the page and of its drawings."""
    parts = [
        "# Networks",
        "A network is written `NAME<clients>[:key=value,...]`, or is a file. Each is drawn as it "
        "is in its first round; `p2pqg topology NAME` examines any.",
    ]
    for name, entry in sorted(TOPOLOGIES.items()):
        call = example(name, entry)
        network = of_example(call)
        picture = io.BytesIO()
        draw_network(network).figure.savefig(picture, format="svg", bbox_inches="tight")
        yield f"networks/{call}.svg", picture.getvalue()
        rows = [[what, escape(text)] for what, text in sheet(examine(network)) if what not in WIDE]
        parts += [
            f"## {name}",
            f"{entry.summary} Source: {entry.source}.",
            f"![{call}](networks/{call}.svg){{ width=320 }}",
            table([f"`{call}`", ""], rows),
        ]
    yield "networks.md", "\n\n".join(parts)


WIDE = ("names",)
SIZES = (16, 8, 9, 12, 4, 17, 25)


def of_example(call: str) -> Schedule:
    """The network; of those that look at labels, for clients that see one of four classes each."""
    size = int("".join(filter(str.isdigit, call)))
    return build(call, label_counts=10 * np.eye(4)[np.arange(size) % 4])


def example(name: str, entry: Entry) -> str:
    """A network of that name with few clients."""
    if entry.traits["size"]:
        return f"{name}{entry.traits['size']}"
    for size in SIZES:
        try:
            of_example(f"{name}{size}")
        except Exception:  # it needs another number
            continue
        return f"{name}{size}"
    raise ValueError(f"no size in {SIZES} suits {name}")


def scenarios() -> str:
    text = Path("docs/scenarios.md").read_text(encoding="utf-8")
    verbs = table(
        ["Verb", "What"],
        (
            [
                f"`{verb}`",
                (inspect.getdoc(getattr(Simulation, verb, None)) or "").partition("\n")[0],
            ]
            for verb in VERBS
        ),
    )
    classes = table(
        ["Class", "What", "Latency", "Up", "Down", "Source"],
        (
            [
                f"`{k}`",
                PER_WORDS[c.per],
                f"{1e3 * c.latency:g} ms",
                rate(c.uplink),
                rate(c.downlink),
                escape(c.source),
            ]
            for k, c in CLASSES.items()
        ),
    )
    spread = table(
        ["`varies`", "What"], ([f"`{k}`", escape(e.summary)] for k, e in DISTRIBUTIONS.items())
    )
    for mark, made in (("verbs", verbs), ("classes", classes), ("distributions", spread)):
        text = text.replace(f"<!-- {mark} -->", made)
    return text


def rate(bits: float) -> str:
    return "no limit" if bits == float("inf") else f"{bits / 1e6:g} Mbit/s"


def pages() -> Iterator[tuple[str, str | bytes]]:
    yield "recipes.md", recipes()
    yield "results.md", results()
    yield "scenarios.md", scenarios()
    yield from algorithms()
    yield from networks()


for path, content in pages():
    mode = "wb" if isinstance(content, bytes) else "w"
    with mkdocs_gen_files.open(path, mode) as file:
        file.write(content)
