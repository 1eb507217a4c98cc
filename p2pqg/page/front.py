"""What draws networks in a browser: one script and one sheet, put together of our files."""

from __future__ import annotations

from pathlib import Path

from p2pqg.base.themes import IN_THE_DARK, IN_THE_LIGHT

HERE = Path(__file__).parent
DARK = (
    "--ink: #eceae5; --muted: #a2a6ad; --rule: #34383e; --well: #26292e; --card: #1b1e21; "
    "--paper: #2a2d33; --link: #565c65; --ring: rgb(255 255 255 / .38); --bar: #c4c7cb; "
    "--warn: #ffab70; --focus: #7cc4f2; --s0: #3a8fe0; --s1: #f0803a; --s2: #22c99a; "
    "--s3: #e58fcb; --s4: #a8e0ff; --s5: #f7cf5c; --s6: #858b94; color-scheme: dark;"
)


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def script() -> str:
    """`p2pqgDrawing` and `p2pqgRoom`."""
    return _read("drawing.js") + _read("room.js")


def style() -> str:
    """The sheet of both, dark where a notebook, or else the reader's system, says so."""
    sheet = _read("room.css")
    own = sheet[sheet.index("--ink:") : sheet.index("position: relative")]
    light = " ".join(own.split()) + " color-scheme: light;"
    for name, places, colors in (("DARK", IN_THE_DARK, DARK), ("LIGHT", IN_THE_LIGHT, light)):
        sheet = sheet.replace(f"IN_THE_{name}", _within(places))
        sheet = sheet.replace(f"{{ {name} }}", f"{{ {colors} }}")
    return sheet


def _within(places: tuple[str, ...]) -> str:
    return ", ".join(f"{place} .p2pqg-room" for place in places)


def replaying() -> str:
    """What a report does with the replays in it, after `script()`."""
    return _read("replay.js")


def watching() -> str:
    """What the page of `p2pqg watch` does, after `script()`."""
    return _read("watch.js")
