"""Keys below keys, written with dots: `algorithm.mu` is mu of the part algorithm.

A part that is given by its name alone, `algorithm: dmsgd`, is short for a mapping of that name,
`algorithm: {name: dmsgd}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from p2pqg.base import yaml_text
from p2pqg.base.errors import ConfigError


def assign(settings: dict[str, Any], key: str, value: Any) -> None:
    """Set settings["a"]["b"] for the key `a.b`; mappings below are copied, not changed.

    Raises:
        ConfigError: what is above the last dot is neither a mapping nor a part's name.

    >>> settings = {"algorithm": "dmsgd"}
    >>> assign(settings, "algorithm.mu", 0.3)
    >>> settings
    {'algorithm': {'name': 'dmsgd', 'mu': 0.3}}
    """
    *path, last = key.split(".")
    for part in path:
        inner = settings.get(part)
        if isinstance(inner, str):
            inner = {"name": inner}
        if not isinstance(inner, Mapping | None):
            raise ConfigError(f"{part} has no keys below it, so that {key} cannot be set")
        settings[part] = dict(inner or {})
        settings = settings[part]
    settings[last] = value


def set_dotted(settings: dict[str, Any], said: str) -> None:
    """Apply `--set KEY=VALUE`: `algorithm.lazy=true` sets settings["algorithm"]["lazy"] = True.

    Raises:
        ConfigError: it is not of that form, not YAML, or there are no keys below that key.
    """
    key, equals, text = said.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set must be KEY=VALUE, got {said!r}")
    if not text.strip():
        raise ConfigError(
            f"--set {said}: there is no value; null leaves {key} unset, '\"\"' is empty"
        )
    try:
        value = yaml_text.parse(text)
    except yaml_text.NotYaml:
        raise ConfigError(f"--set {said}: the value is not valid YAML; quote it") from None
    try:
        assign(settings, key.strip().replace("-", "_"), value)
    except ConfigError as error:
        raise ConfigError(f"--set {said}: {error}") from None


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings under dotted keys; `algorithm.name` is called `algorithm`, a list is a text.

    >>> flat({"lr": 0.1, "algorithm": {"name": "dmsgd", "mu": 0.3}})
    {'lr': 0.1, 'algorithm': 'dmsgd', 'algorithm.mu': 0.3}
    """
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif key == "name" and prefix:
            found[prefix[:-1]] = value
        else:
            found[f"{prefix}{key}"] = str(value) if isinstance(value, list) else value
    return found
