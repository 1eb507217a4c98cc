"""Modules of the user's that a run's files import and it does not keep: those of a package, say.

Who works on a package that is installed for editing changes what the same import means. So a run
notes letters of each such module, as far as imports lead through the user's own code.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from p2pqg.base.user_code import LIBRARIES

MOST = 500
"""Modules that are looked into: someone may have installed torch for editing."""


def imported_by(files: Mapping[str, bytes]) -> dict[str, str]:
    """Modules that Python files import, directly or by others of them, but for libraries.

    Args:
        files: name -> content, what a run keeps; these are not among those it imports.

    Returns:
        Path of a module within its package, `mylab/nets.py` -> letters that tell its text.
    """
    kept = {name.removesuffix(".py") for name in files}
    found: dict[str, str] = {}
    waiting = [(text, "") for name, text in sorted(files.items()) if name.endswith(".py")]
    while waiting and len(found) < MOST:
        text, package = waiting.pop(0)
        for name in _imports(text, package):
            file = None if name in kept else _file_of(name)
            if file is None:
                continue
            is_package = file.name == "__init__.py"
            path = "/".join([*name.split("."), *(["__init__"] if is_package else [])]) + ".py"
            if path not in found:
                content = file.read_bytes()
                found[path] = hashlib.blake2b(content, digest_size=4).hexdigest()
                waiting.append((content, name if is_package else name.rpartition(".")[0]))
    return dict(sorted(found.items()))


def _imports(text: bytes, package: str) -> Iterator[str]:
    """Names that may be modules, in the import statements of a file of that package."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        names = list[str]()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            home = node.module or ""
            if node.level:
                if package.count(".") + 1 < node.level or not package:
                    continue
                home = importlib.util.resolve_name("." * node.level + home, package)
            names = [home, *(f"{home}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _file_of(name: str) -> Path | None:
    """Where a module of the user's is; None: there is none, or it is a library's.

    It is looked for below a package that has been imported, and nothing is imported for that.
    """
    top, *inner = name.split(".")
    if top in sys.stdlib_module_names or top in ("p2pqg", "__main__") or top not in sys.modules:
        return None
    package = sys.modules[top]
    if not inner:
        places = [Path(getattr(package, "__file__", None) or "")]
    else:
        homes = [Path(home, *inner) for home in getattr(package, "__path__", ())]
        places = [file for h in homes for file in (h / "__init__.py", h.with_name(f"{h.name}.py"))]
    for file in places:
        if file.suffix == ".py" and not {*LIBRARIES} & {*file.parts} and file.is_file():
            return file
    return None
