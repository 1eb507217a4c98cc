"""What a live simulation shows of itself in a notebook: its network, its shards, where it stands.

Plain HTML and SVG, with styles of its own: it looks the same wherever a notebook is read. In
the dark it is dark, where the notebook (JupyterLab, VS Code, Colab) or else the reader's system
says so; who takes the style sheet away, as GitHub does, leaves the light colors.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from p2pqg.base.themes import IN_THE_DARK, IN_THE_LIGHT

if TYPE_CHECKING:
    import numpy as np

    from p2pqg.page.maps import Drawing
    from p2pqg.results.standing import Live, Standing

MOST_EVENTS = 4
MOST_TILES = 100
"""Shards that are shown on their own."""
COLORS = {
    "ink": ("#1f2933", "#e6e8eb"),
    "faint": ("#66727f", "#9aa5b1"),
    "line": ("#c3ccd5", "#4a525c"),
    "paper": ("#fff", "#1b1e21"),
    "blue": ("#0072b2", "#56b4e9"),
    "green": ("#009e73", "#22c99a"),
    "red": ("#d55e00", "#f0803a"),
}
"""Name -> in the light, in the dark."""
INK, FAINT, LINE, PAPER, BLUE, GREEN, RED = (
    f"var(--p2pqg-{name},{light})" for name, (light, _) in COLORS.items()
)
FONT = "font-family:system-ui,sans-serif;font-size:13px;line-height:1.45"


def card(simulation: Live) -> str:
    """The network with its clients, their shards as small bars, and where the simulation stands."""
    from p2pqg.data import label_counts
    from p2pqg.page import maps as page
    from p2pqg.results.standing import Standing

    experiment, config = simulation.experiment, simulation.experiment.config
    arrays = experiment.arrays
    counts = label_counts(experiment.parts, arrays.train_y, arrays.num_classes)
    now = Standing.of(simulation)
    span = page.accuracy_range([now])
    drawing = page.draw(now, simulation.network, counts, span)
    picture = "" if drawing is None else _svg(drawing, simulation)
    if picture and span:
        picture += _scale(span, page.VIRIDIS)
    if drawing is None or not drawing.nodes[0].bars:
        picture += _tiles(counts, simulation)
    rows = "".join(
        f'<div style="color:{FAINT};white-space:nowrap">{escape(name)}</div>'
        f'<div style="{style}">{escape(text)}</div>'
        for name, text, style in _stands(simulation, now)
    )
    title = escape(f"{config.algorithm['name']} on {config.topology}")
    return (
        f"{style_sheet()}"
        f'<div class="p2pqg" style="{FONT};color:{INK};background:{PAPER};border:1px solid {LINE};'
        "border-radius:8px;padding:12px 16px;display:flex;flex-wrap:wrap;gap:8px 28px;"
        f'align-items:center;max-width:980px"><div style="flex:1 1 400px">{picture}</div>'
        '<div style="flex:1 1 300px"><div style="font-size:16px;font-weight:600;'
        f'margin-bottom:6px">{title}</div><div style="display:grid;'
        f'grid-template-columns:max-content auto;gap:2px 14px">{rows}</div></div></div>'
    )


def _svg(drawing: Drawing, simulation: Live) -> str:
    """The drawing, with links that are cut dashed and clients that left hollow."""
    from p2pqg.page.maps import BAR_HEIGHT, BAR_WIDTH

    network, radius = simulation.network, drawing.radius
    parts = [
        f'<path d="{drawing.links}" style="stroke:{LINE};fill:none"/>',
        f'<path d="{drawing.loose}" style="stroke:{LINE};fill:none;stroke-dasharray:1 4"/>',
        f'<path d="{drawing.arrows}" style="fill:{LINE}"/>',
        f'<path d="{drawing.cut}" style="stroke:{RED};stroke-width:1.6;stroke-dasharray:5 4;'
        'fill:none"/>',
    ]
    for node in drawing.nodes:
        fill, ink, rim = (node.fill, node.ink, PAPER) if node.here else (PAPER, FAINT, RED)
        shard = name = ""
        if node.bars:
            shard = (
                f'<rect x="{-BAR_WIDTH / 2 - 4:g}" y="2" width="{BAR_WIDTH + 8}" '
                f'height="{radius + BAR_HEIGHT + 5:g}" rx="5" style="fill:{PAPER};stroke:{LINE}"/>'
                f'<path transform="translate({-BAR_WIDTH / 2:g} {radius + 2.5:g})" '
                f'style="fill:{FAINT}" d="M0 {BAR_HEIGHT}h{BAR_WIDTH}v.6H0z{node.bars}"/>'
            )
        if node.name:
            style = f'style="fill:{ink}" font-size="11" text-anchor="middle" dy="3.8"'
            name = f"<text {style}>{escape(node.name)}</text>"
        if node.label:
            style = f'style="fill:{INK}" font-size="10.5" text-anchor="middle"'
            name = f'<text y="{-radius - 4:g}" {style}>{escape(node.label)}</text>'
        disk = f'<circle r="{radius:g}" style="fill:{fill};stroke:{rim};stroke-width:1.5"/>'
        about, at = escape(node.about), f"translate({node.x:g} {node.y:g})"
        parts.append(f'<g transform="{at}"><title>{about}</title>{shard}{disk}{name}</g>')
    width, height = drawing.width, drawing.height
    about = escape(f"{network.base.name}; {network.describe() or 'all is well'}")
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{about}" '
        f'style="display:block;width:100%;max-width:{min(width, 560)}px;height:auto">'
        f"{''.join(parts)}</svg>"
    )


def style_sheet() -> str:
    """The colors of the dark, where it is dark."""
    dark, light = (
        "".join(f"--p2pqg-{name}:{pair[k]};" for name, pair in COLORS.items()) for k in (1, 0)
    )

    def within(places: tuple[str, ...]) -> str:
        return ",".join(f"{place} .p2pqg" for place in places)

    return (
        f"<style>@media (prefers-color-scheme:dark){{.p2pqg{{{dark}}}}}"
        f"{within(IN_THE_DARK)}{{{dark}}}{within(IN_THE_LIGHT)}{{{light}}}</style>"
    )


def _scale(span: tuple[float, float], colors: tuple[str, ...]) -> str:
    """What the colors of the clients mean."""
    from p2pqg.base.wording import percent

    low, high = map(percent, span)
    return (
        f'<div style="color:{FAINT};font-size:11px;margin-top:4px">client\'s accuracy {low} '
        '<span style="display:inline-block;width:90px;height:8px;border-radius:4px;'
        f'background:linear-gradient(90deg,{",".join(colors)})"></span> {high}</div>'
    )


def _tiles(counts: np.ndarray, simulation: Live) -> str:
    """The shards on their own, where the clients are too many to have them in the drawing."""
    from p2pqg.page.maps import BAR_HEIGHT, BAR_WIDTH, bars, grouped, shard_text

    values, called = grouped(counts), simulation.network.base.called
    tiles = "".join(
        f'<svg viewBox="0 0 {BAR_WIDTH} {BAR_HEIGHT}" width="{BAR_WIDTH}" height="{BAR_HEIGHT}">'
        f"<title>client {escape(called(client))}: {escape(shard_text(counts[client]))}</title>"
        f'<path style="fill:{FAINT}" d="{bars(values[client], values.max())}"/></svg>'
        for client in range(min(len(counts), MOST_TILES))
    )
    which = ""
    if len(counts) > MOST_TILES:
        which = f" of the first {MOST_TILES} of {len(counts):,} clients"
    return (
        f'<div style="color:{FAINT};font-size:11px;margin-top:6px">shards{which}, samples by class'
        f'</div><div style="display:flex;flex-wrap:wrap;gap:3px 6px">{tiles}</div>'
    )


def _stands(simulation: Live, now: Standing) -> list[tuple[str, str, str]]:
    """(name, text, style): where the simulation stands."""
    from p2pqg.base.wording import counted, duration, human_bytes, number, percent

    summary, experiment = now.summary, simulation.experiment
    done, planned = simulation.round, experiment.num_rounds
    rows = [("round", f"{done:,} of {planned:,}" if done <= planned else f"{done:,}", "")]
    if simulation.closed:
        rows[0] = ("round", f"{rows[0][1]}, closed", "")
    if summary["test_accuracy"] is not None:
        last = now.last_clients["test_accuracy"]
        text = f"{percent(summary['test_accuracy'], 2)}, clients from {percent(last.min())}"
        text += f" to {percent(last.max())}"
        if summary["evaluated_rounds"] < done:
            text += f" (after {counted(summary['evaluated_rounds'], 'round')})"
        rows.append(("accuracy", text, "font-weight:600"))
        rows.append(("averaged model", percent(summary["averaged_model_accuracy"], 2), ""))
    if done:
        recorded = summary["recorded_rounds"]
        then = f" (after {counted(recorded, 'round')})" if recorded < done else ""
        rows.append(("consensus", number(summary["consensus_distance"]) + then, ""))
        rows.append(("sent", human_bytes(summary["bytes_sent"]) + then, ""))
    if experiment.timing is not None:
        rows.append(("simulated time", duration(simulation.sim_seconds), ""))
    network = simulation.network
    pieces = network.components(done)
    trouble = ", ".join(filter(None, [network.describe(), f"in {pieces} pieces" * (pieces > 1)]))
    well = f"{counted(network.num_clients, 'client')}, all is well"
    rows.append(("network", trouble or well, f"color:{RED};font-weight:600" * bool(trouble)))
    events = simulation.events
    if len(events) > MOST_EVENTS:
        rows.append(("events", counted(len(events) - MOST_EVENTS, "earlier event"), ""))
    rows += [(f"round {event['round']}", event["what"], "") for event in events[-MOST_EVENTS:]]
    return rows
