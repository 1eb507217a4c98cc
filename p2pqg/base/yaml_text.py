"""YAML as p2pqg reads it: recipes, networks, and the values of flags. Safe for files of strangers.

It is YAML 1.1, of which some things are left out that surprise, or harm:

- a number is what people take for one: 1e-2 too, but neither 010 (eight), 12:30 (750) nor 1__0_;
- a key that is there twice is refused, not the first one forgotten;
- tags make nothing but plain data, and aliases nothing larger than what a person would write.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode

DIGITS = r"[0-9]+(?:_[0-9]+)*"
TYPES = {
    "int": r"[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)",
    "float": rf"[-+]?(?:(?:{DIGITS}\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|{DIGITS}[eE][-+]?[0-9]+"
    r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
}
MOST_DIGITS = 1000
MOST_EXPANDED, MOST_TIMES = 1_000_000, 10
"""Parts that a file may have once its aliases are filled in; or so many times what is there."""


class NotYaml(ValueError):
    """A text that cannot be read.

    Attributes:
        line: from 1 on; None: not known.
    """

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line


class _Rules(yaml.constructor.SafeConstructor, yaml.resolver.Resolver):
    """See the top of this file."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set[tuple[str, str]]()
        for key, _ in node.value:
            if isinstance(key, ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in keys:
                    problem = f"the key {key.value:.60} is there twice"
                    raise ConstructorError(None, None, problem, key.start_mark)
                keys.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Puts in quotes what the loader would not take for a text; and what others would not."""


_Rules.yaml_implicit_resolvers = {
    first: [(tag, what) for tag, what in resolvers if tag.rpartition(":")[2] not in TYPES]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, _pattern in TYPES.items():
    for _class in (_Rules, _Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_name}", re.compile(f"(?:{_pattern})$"), list("-+.0123456789")
        )


class _Loader(_Rules, yaml.SafeLoader):
    pass


_quick: Callable[[str], Any] = _Loader
"""Many times as fast where PyYAML comes with libyaml, whose messages are others."""
if yaml.__with_libyaml__:

    class _Quick(_Rules, yaml.CSafeLoader):
        pass

    _quick = _Quick


def parse(text: str) -> Any:
    """The plain data that a text stands for.

    Raises:
        NotYaml: it is none, or would become too large.

    >>> parse("{lr: 1e-2, clients: [010, 1__0_, 12:30]}")
    {'lr': 0.01, 'clients': ['010', '1__0_', '12:30']}
    """
    try:
        return _data(_Loader(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise NotYaml(str(error.problem), mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:  # of the reader: it has no mark
        raise NotYaml(str(getattr(error, "reason", error))) from None
    except RecursionError:
        raise NotYaml("it is nested too deeply") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise NotYaml(f"a value cannot be read ({error})") from None


def parse_own(text: str) -> Any:
    """The same of a text that `dump` made, and many times faster.

    Raises:
        NotYaml: as of `parse`; it is another text.
    """
    try:
        return _data(_quick(text))
    except Exception:  # it says what is wrong, and where, or can read it
        return parse(text)


def _data(loader: Any) -> Any:
    node = loader.get_single_node()
    if node is None:
        return None
    _check_size(node)
    return loader.construct_document(node)


def dump(data: Any, **style: Any) -> str:
    """Plain data as a text that `parse` reads as it was; keys keep their order.

    >>> print(dump({"b": "1e-2", "a": 0.01}), end="")
    b: '1e-2'
    a: 0.01
    """
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, **style)


def _check_size(root: Node) -> None:
    """Whether the nodes below one are not too many once aliases are filled in.

    Raises:
        ConstructorError: they are, or an alias stands for something that it is in.
    """
    sizes: dict[int, int] = {}
    _size(root, sizes, set())
    if sizes[id(root)] > max(MOST_EXPANDED, MOST_TIMES * len(sizes)):
        problem = f"its aliases stand for {sizes[id(root)]:,} values"
        raise ConstructorError(None, None, problem, root.start_mark)


def _size(node: Node, sizes: dict[int, int], above: set[int]) -> int:
    if id(node) in above:
        raise ConstructorError(None, None, "an alias stands for what it is in", node.start_mark)
    if id(node) not in sizes:
        if isinstance(node, ScalarNode):
            if node.tag.endswith(":int") and len(node.value) > MOST_DIGITS:
                problem = f"a number of {len(node.value):,} digits"
                raise ConstructorError(None, None, problem, node.start_mark)
            sizes[id(node)] = 1
            return 1
        above.add(id(node))
        children = node.value
        if isinstance(node, MappingNode):
            children = [child for pair in node.value for child in pair]
        sizes[id(node)] = 1 + sum(_size(child, sizes, above) for child in children)
        above.remove(id(node))
    return sizes[id(node)]
