"""What we use of Ray's private names; what a version does not know, it does its own way.

Tried with Ray 2.52.0, the first one whose ports ask for a token, and 2.60.0.

A Ray of our own is closed and lean. Closed: it listens on the loopback interface only, and answers
who knows its token only. Ray has no public setting that keeps a node to the loopback interface (it
takes 127.0.0.1 for "find my address"), and writes its token where every Ray of the user reads it.

Lean: without what a run does not ask for, see `lean.py`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import auto_init_hook, ray_constants, services
from ray._private import state as ray_state
from ray._private import worker as ray_worker
from ray._raylet import (  # type: ignore[attr-defined]
    AuthenticationMode,
    AuthenticationTokenLoader,
    Config,
    GcsClient,
    get_authentication_mode,
)

from p2pqg.engine.on_ray.lean import falls_back, only_what_a_run_needs
from p2pqg.engine.on_ray.meanwhile import environment, instead
from p2pqg.engine.on_ray.own_folder import OwnFolder

try:
    from ray._common import ray_option_utils
except ImportError:
    ray_option_utils = None  # type: ignore[assignment]

LOOPBACK = "127.0.0.1"

AUTHENTICATION = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
"""Environment variables: how to join a cluster of the user's; ours is no business of theirs."""

SECONDS_TO_TELL = 5.0
"""For the head of a cluster, who is part of it."""

# When an actor dies, the others stumble; who asks for results is told, nobody else needs to be.
os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
warnings.filterwarnings("ignore", "Tip: In future versions of Ray", FutureWarning)


# A Ray of our own


def start(folder: OwnFolder, **settings: Any) -> list[str]:
    """`ray.init` on this machine, closed and lean, with its settings; raises what that raises.

    Returns:
        What this version of Ray does not leave out, a line each: a run costs more than it should.
    """
    own = {
        "address": "local",
        "include_dashboard": False,
        "_node_ip_address": LOOPBACK,
        "_temp_dir": str(folder.ray),
        **settings,
    }
    with_token = dict.fromkeys(AUTHENTICATION) | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder.token),
    }
    notes: list[str] = []
    alone = instead(services, resolve_ip_for_localhost=_as_it_is)
    with environment(with_token), alone, no_dump_when_stopped():
        _read_authentication()
        with _raw_lines_hidden():
            AuthenticationTokenLoader.instance().has_token()  # some versions say where they find it
        try:
            with only_what_a_run_needs(notes):
                ray.init(**own)
        except Exception as error:  # perhaps this version needs more; if not, it says the same
            ray.shutdown()
            notes[:] = [falls_back(f"does not start without its agents ({_first_line(error)})")]
            try:
                ray.init(**own)
            except Exception:
                ray.shutdown()
                raise
    _check_closed()
    return notes


def stop() -> None:
    """End the Ray of our own; nothing of it is left that would start another by itself.

    Its thread that watches direct transfers did so: a transfer that was announced while Ray was
    ending woke it afterwards.
    """
    transfers = _transfers()
    watch = {"start_monitor_thread_if_needed": lambda: None}
    with (
        not_by_itself(),
        instead(transfers, **watch) if transfers else contextlib.nullcontext(),
    ):
        ray.shutdown()
        if transfers:
            transfers.shutdown()  # once more: now nobody can wake it
            transfers._unmonitored_transfers.queue.clear()
    _read_authentication()


def node() -> Any:
    """This process's part of the Ray that it uses now; another one after a new start.

    None where the Ray is reached by a Ray Client (an address ray://...).
    """
    return ray_worker._global_node


def what_ended(of: Any) -> str | None:
    """What is no longer there of the Ray that a node was part of; None: all is.

    Whoever asks Ray's object store for something when its process has ended is ended, too, by
    Ray's library, without a word. So we look before. Without its other process Ray goes on for a
    minute, and then everything ends.
    """
    if of is not node():
        return "it was started anew"
    if of is None:  # a Ray Client, which has none
        return None
    names = sorted({name for name, _ in of.dead_processes()})
    return f"its {' and '.join(names)} ended" if names else None


def is_joined(of: Any) -> bool:
    """Whether a node is part of a Ray that others have started."""
    return not any(of.all_processes.values())


@contextmanager
def no_dump_when_stopped() -> Iterator[None]:
    """A Ray that starts while inside leaves the signals of this process alone.

    On SIGTERM its handler in C++ would write a stack to stderr, and may crash in doing so, until
    somebody sets a handler of Python again. It is installed whichever thread starts Ray.
    """
    with instead(ray_constants, RAY_DISABLE_FAILURE_SIGNAL_HANDLER=True):
        yield


@contextmanager
def not_by_itself() -> Iterator[None]:
    """Ray starts itself when it is used while there is none; not while inside."""
    with instead(auto_init_hook, enable_auto_connect=False):
        yield


def _check_closed() -> None:
    """A version that goes its own way with these names must not leave us open to others."""
    host = ray.get_runtime_context().gcs_address.rpartition(":")[0]
    if host == LOOPBACK and get_authentication_mode() == AuthenticationMode.TOKEN:
        return
    stop()
    raise RuntimeError(f"Ray {ray.__version__} cannot be closed to other users of the network")


def _read_authentication() -> None:
    """Have Ray read from the environment how to authenticate; it keeps what it has once read."""
    AuthenticationTokenLoader.instance().reset_cache()
    Config.initialize("")


def _as_it_is(host: str) -> str:
    return host


# Somebody's Ray


def address_of(address: str) -> str | None:
    """The host:port that an address stands for, "auto" too; None: no cluster is known here.

    Raises:
        ValueError: it is no address.
    """
    with contextlib.suppress(ConnectionError):
        return services.canonicalize_bootstrap_address(address)
    return None


def admits(address: str, auto: bool) -> bool:
    """Whether the cluster at host:port lets us in; Ray itself would ask for twenty seconds.

    Args:
        address: somebody answers there.
        auto: the user leaves it to Ray how to join; then it uses a token that is at hand.
    """
    with _raw_lines_hidden():
        try:
            GcsClient(address=address)
            return True
        except ray.exceptions.AuthenticationError:
            if not auto or "RAY_AUTH_MODE" in os.environ or not _token_is_at_hand():
                return False
    with environment({"RAY_AUTH_MODE": "token"}):
        _read_authentication()
        admitted = admits(address, auto)
    if admitted:
        os.environ["RAY_AUTH_MODE"] = "token"
    else:
        _read_authentication()
    return admitted


def has_a_node_here(address: str) -> bool:
    """Whether a node of the cluster at host:port serves us on this machine; it has let us in.

    Ray itself would look for one for a minute, and then says that nobody answers. And it takes one
    in a container for a node of this machine, as its process can be seen, or one of another user:
    then it aborts the whole process. True where a version of it does not tell.
    """
    try:
        here = services.find_node_ids()
        nodes = GcsClient(address=address).get_all_node_info(timeout=SECONDS_TO_TELL)
        return any(
            _answers(node.raylet_socket_name) for key, node in nodes.items() if key.hex() in here
        )
    except (AttributeError, TypeError, ray.exceptions.RayError):
        return True


def _answers(path: str) -> bool:
    """Whether a process listens on a socket in our file system that we may write to."""
    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.connect(path)
        except OSError:
            return False
    return True


def _token_is_at_hand() -> bool:
    try:
        return AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)
    except TypeError:  # an older version, which does not look for one unless it is told to
        return False


# Direct transport


def has_direct_transport() -> bool:
    """Whether this version can carry tensors from actor to actor."""
    return "enable_tensor_transport" in getattr(ray_option_utils, "actor_options", {})


def _transfers() -> Any:
    """What looks after direct transfers in this process; None: there were none."""
    worker = ray_worker.global_worker
    return getattr(worker, "_rdt_manager", None) or getattr(worker, "_gpu_object_manager", None)


# Actors

WAITS = "PENDING_CREATION"
"""State of an actor for which no process is ready."""


def id_of(actor: Any) -> str:
    """The hexadecimal id of an actor, by its handle."""
    return str(actor._actor_id.hex())


def not_started() -> set[str]:
    """Hexadecimal ids of this process's actors that Ray has yet to start."""
    job = ray.get_runtime_context().get_job_id()
    table = ray_state.state.actor_table(None, ray.JobID.from_hex(job), WAITS)
    return set(table)


# What it prints


def let_ray_print(allowed: bool) -> None:
    """What Ray notices, such as dead processes, it prints to stdout; we tell it ourselves.

    Ray has no public switch for that; where a version does not know this one, it prints.
    """
    if hasattr(ray_worker, "_worker_logs_enabled"):
        ray_worker._worker_logs_enabled = allowed


@contextmanager
def _raw_lines_hidden() -> Iterator[None]:
    """For a moment, nothing is written to stderr, not even by Ray's libraries in C++."""
    if sys.stderr is None:  # closed, as of some services
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]
