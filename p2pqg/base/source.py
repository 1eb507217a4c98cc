"""The code of a user's function or class as a file of its own, so that a run can keep it.

Of a module, all of its file is kept. Of a script or notebook, which would start its own work again,
only what the object needs: its definition, and the imports, definitions and assignments it names.
"""

from __future__ import annotations

import ast
import copy
import inspect
import symtable
import sys
from collections.abc import Iterator
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any

from p2pqg.base.user_code import LIBRARIES, beside, is_library


class UnkeptError(Exception):
    """Why an object cannot be written down as code; a part of a sentence."""


def named_in_code(thing: Any) -> str:
    """The name that a function or class is defined under.

    Raises:
        UnkeptError: it is a lambda, is made inside another function, or is neither.
    """
    name = getattr(thing, "__qualname__", None)
    if not isinstance(name, str) or not (inspect.isfunction(thing) or inspect.isclass(thing)):
        if inspect.isbuiltin(thing) and "." not in thing.__qualname__:
            return thing.__qualname__
        raise UnkeptError(f"is an object of class {type(thing).__name__}, not a named function")
    if "<lambda>" in name:
        raise UnkeptError("is a lambda, which has no name")
    if "." in name:
        raise UnkeptError(f"is made inside {name.split('.')[0]}, not at the top of a file")
    return name


def code_of(*things: Any) -> tuple[str, list[Path]]:
    """The text of a Python file that defines functions or classes under their own names.

    Returns:
        The text, and the files of the user's that it imports from beside it.

    Raises:
        UnkeptError: one of them cannot be written down.
    """
    texts: dict[str, list[str]] = {}
    for thing in things:
        name = named_in_code(thing)
        texts.setdefault(thing.__module__, []).append(name)
    parts, files = [], []
    for module, names in texts.items():
        text, near = _of_module(module, list(dict.fromkeys(names)))
        parts.append(text.strip())
        files += near
    parts.sort(key=lambda text: "from __future__" not in text)  # must come first in a file
    return "\n\n\n".join(parts) + "\n", files


def _of_module(name: str, names: list[str]) -> tuple[str, list[Path]]:
    home = sys.modules.get(name)
    if home is None:
        raise UnkeptError(f"comes from {name}, which is no module")
    if name == "__main__":
        text = _text_of_main(home)
        near = [Path(m.__file__ or "") for m in beside(home) if m is not home]
        return sliced(text, names), near if getattr(home, "__file__", None) else []
    if is_library(home):
        return f"from {name} import {', '.join(names)}", []
    text = _own_text(home)
    near = [Path(m.__file__ or "") for m in beside(home) if m is not home]
    above = [name[:dot] for dot, letter in enumerate(name) if letter == "."]
    if any(hasattr(sys.modules.get(package), "__path__") for package in above):
        return f"from {name} import {', '.join(names)}", []  # of a package of the user's
    return text, near


def _own_text(module: ModuleType) -> str:
    kept = module.__dict__.get("__text__")  # of a file that a recipe named, as it was read
    if isinstance(kept, bytes):
        return kept.decode()
    try:
        return Path(module.__file__ or "").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise UnkeptError(f"comes from {module.__name__}, whose file cannot be read") from None


def _text_of_main(main: ModuleType) -> str:
    """The script, or the cells of a notebook so far."""
    cells = main.__dict__.get("In")
    if isinstance(cells, list):
        return "\n\n".join(cell for cell in cells if _parses(cell))
    if getattr(main, "__file__", None) is None:
        raise UnkeptError("was typed at a prompt, which leaves no file")
    return _own_text(main)


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:  # magic commands
        return False
    return True


def sliced(text: str, names: list[str]) -> str:
    """The statements of a script that definitions need, in their order.

    >>> print(sliced("import os, re\\nn = 3\\ndef f(): return n\\nprint(f())", ["f"]))
    n = 3
    def f(): return n

    Raises:
        UnkeptError: a name is not defined at its top, or what it needs would run everything again.
    """
    tree, lines = ast.parse(text), text.splitlines()
    kept, pieces = _needed_for(names, tree), []
    for statement in tree.body:
        if id(statement) in kept or _changes_all(statement):
            if _starts_a_run(statement):
                raise UnkeptError(f"needs line {statement.lineno} of its file, which starts a run")
            first = min(
                [statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))]
            )
            pieces.append("\n".join(lines[first - 1 : statement.end_lineno]))
    return "\n".join(pieces)


def _needed_for(names: list[str], tree: ast.Module) -> set[int]:
    """Ids of the statements that give the names a value, and those that these use, and so on."""
    binds: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        if not _is_main_guard(statement):
            for name in _bound_by(statement):
                binds.setdefault(name, []).append(statement)
    for name in names:
        if name not in binds:
            raise UnkeptError(f"{name} is not defined at the top of its file")
    wanted, kept, waiting = set[str](), set[int](), list(names)
    while waiting:
        name = waiting.pop()
        if name in wanted or name not in binds:
            continue
        wanted.add(name)
        statements = binds[name]
        if isinstance(statements[-1], _DEFINITIONS):
            statements = statements[-1:]  # a cell that ran again
        for statement in statements:
            kept.add(id(statement))
            waiting += _used_by(statement)
    return kept


def _changes_all(statement: ast.stmt) -> bool:
    """Whether all that follows may mean something else without it: a future, or import *."""
    if not isinstance(statement, ast.ImportFrom):
        return False
    return statement.module == "__future__" or statement.names[0].name == "*"


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _is_main_guard(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and any(
        isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(statement.test)
    )


def _bound_by(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement at the top of a file gives a value."""
    if isinstance(statement, _DEFINITIONS):
        yield statement.name
        return
    for kind, symbol in _symbols_in(statement):
        if (kind == "module" or symbol.is_global()) and (
            symbol.is_assigned() or symbol.is_imported()
        ):
            yield symbol.get_name()


def _used_by(statement: ast.stmt) -> list[str]:
    """Names that it looks for at the top of its file: not its parameters and local names."""
    return [
        symbol.get_name()
        for kind, symbol in _symbols_in(statement)
        # In a class, lr: float = lr is a local name, whose value is that of the file.
        if symbol.is_global() or (kind in ("module", "class") and symbol.is_referenced())
    ]


def _symbols_in(statement: ast.stmt) -> Iterator[tuple[str, symtable.Symbol]]:
    """(kind of scope, name) of all names in a statement."""
    scopes = [_scope(statement)]
    while scopes:
        scope = scopes.pop()
        for symbol in scope.get_symbols():
            yield scope.get_type(), symbol
        scopes += scope.get_children()


def _scope(statement: ast.stmt) -> symtable.SymbolTable:
    """That of a file of this one statement."""
    plain = _Comprehensions().visit(copy.deepcopy(statement))
    return symtable.symtable(ast.unparse(plain), "own", "exec")


class _Comprehensions(ast.NodeTransformer):
    """Makes generators of them, whose names are their own in every Python; before 3.12 all were."""

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp) -> ast.AST:
        return ast.GeneratorExp(self.visit(node.elt), [self.visit(one) for one in node.generators])

    visit_SetComp = visit_ListComp

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        both = ast.Tuple([self.visit(node.key), self.visit(node.value)], ast.Load())
        return ast.GeneratorExp(both, [self.visit(one) for one in node.generators])


def _starts_a_run(statement: ast.stmt) -> bool:
    if isinstance(statement, _DEFINITIONS):
        return False
    calls = (node.func for node in ast.walk(statement) if isinstance(node, ast.Call))
    return any(getattr(f, "attr", getattr(f, "id", "")) in ("run", "Simulation") for f in calls)


def place_of(thing: Any) -> str:
    """Where the user wrote it, for messages: "my_net.py line 12, Net"; its name if nobody knows."""
    target = thing if inspect.isfunction(thing) or inspect.isclass(thing) else type(thing)
    name = getattr(target, "__name__", type(thing).__name__)
    try:
        file = inspect.getsourcefile(target) or ""
        line = inspect.getsourcelines(target)[1]
    except (OSError, TypeError):
        code = getattr(target, "__code__", None)
        if code is None:
            return name
        file, line = code.co_filename, code.co_firstlineno
    return f"{Path(file).name} line {max(line, 1)}, {name}"


def blamed(error: BaseException, what: str) -> str:
    """One line on a mistake in a user's own code: what failed, where, and what Python said."""
    house, line = Path(__file__).parents[1], ""
    for frame, number in walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename)
        if house not in file.parents and not any(part in LIBRARIES for part in file.parts):
            line = f" ({file.name} line {number})"
    said = (str(error).strip().splitlines() or ["no message"])[0]
    return f"{what}{line}: {type(error).__name__}: {said}"
