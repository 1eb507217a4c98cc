"""What Hugging Face's transformers load: from a folder, the local cache, or the hub.

Where there is no network their own retries take most of a minute; so the hub is asked once first.
Needs the extra `text`: `pip install 'p2pqg[text]'`.

Downloads can be forbidden: whoever only looks at results must not fetch a data set for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from ssl import SSLError
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from p2pqg.base.errors import ConfigError

NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
"""What a model on the hub is called: name, or owner/name."""
SECONDS_TO_ANSWER = 5

_FORBIDDEN = ContextVar("downloads are forbidden", default=False)


@contextlib.contextmanager
def no_downloads() -> Iterator[None]:
    """Inside, what is not on this machine is missing, and no network is asked."""
    before = _FORBIDDEN.set(True)
    try:
        yield
    finally:
        _FORBIDDEN.reset(before)


def may_download() -> bool:
    """Whether data and models may be fetched from the network."""
    return not _FORBIDDEN.get()


def fetch(kind: str, path: str, **options: Any) -> Any:
    """`transformers.<kind>.from_pretrained(path, **options)`; the hub is asked last.

    Args:
        kind: a class, e.g. "AutoTokenizer".
        path: a folder, or a name on the hub.
        options: of that class.

    Raises:
        ConfigError: transformers is not installed, or there is no such thing.
    """
    try:
        import transformers
    except ImportError:
        raise ConfigError(
            f"{path} needs the package transformers: pip install 'p2pqg[text]'"
        ) from None
    load = getattr(transformers, kind).from_pretrained
    try:
        with _quiet(transformers):
            try:
                return load(path, local_files_only=True, **options)
            except OSError:
                if Path(path).is_dir() or not NAME.fullmatch(path):
                    raise
                check_reachable()
                return load(path, **options)
    except Exception as error:  # no network, no such name, a broken folder: a bit of everything
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"{path!r} holds no {kind}, and the Hugging Face hub gave none ({reason}); "
            "set model.path to a local folder"
        ) from error


def contents_of(folder: Path, patterns: Iterable[str]) -> str:
    """A digest of the files of a folder whose names fit one of the patterns, in order of names."""
    contents = hashlib.blake2b()
    for file in sorted({file for pattern in patterns for file in folder.glob(pattern)}):
        contents.update(file.read_bytes())
    return contents.hexdigest()


def version_of(path: str) -> str:
    """Which version of a model on the hub is on this machine; it is fetched if there is none.

    Args:
        path: its name there.

    Raises:
        ConfigError: as `fetch`.
    """
    fetch("AutoConfig", path)
    from transformers.utils import cached_file

    return Path(cached_file(path, "config.json", local_files_only=True)).parent.name


def check_reachable() -> None:
    """Ask the hub for a sign of life, once and shortly.

    Raises:
        ConnectionError: it gives none, or nobody may ask.
    """
    forbidden = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    if forbidden or not may_download():
        raise ConnectionError("downloads are not allowed here")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urlopen(Request(endpoint, method="HEAD"), timeout=SECONDS_TO_ANSWER).close()
    except HTTPError as answer:  # whatever it says, it is there
        answer.close()
    except URLError as error:
        if isinstance(error.reason, SSLError):  # their client may know other certificates
            return
        raise ConnectionError(f"{endpoint} cannot be reached: {error.reason}") from None
    except TimeoutError:
        raise ConnectionError(f"{endpoint} gave no answer in {SECONDS_TO_ANSWER} s") from None


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars, no report of new weights (they are meant to be), no count of retries."""
    settings, hub = transformers.utils.logging, logging.getLogger("huggingface_hub")
    levels, bars = (settings.get_verbosity(), hub.level), settings.is_progress_bar_enabled()
    settings.set_verbosity_error()
    settings.disable_progress_bar()
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        settings.set_verbosity(levels[0])
        hub.setLevel(levels[1])
        if bars:
            settings.enable_progress_bar()
