"""What may happen to a run: every function here breaks one in its own way, and mends it.

Each returns nothing when the run has come to its end in the directory of the trial, so that its
numbers can be compared; or False when it is to end with a line instead, which it has then checked.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trial import (
    ALONE,
    FLAG,
    LARGE,
    MARK,
    METHOD,
    OWN,
    SMALL,
    MissedError,
    Trial,
    command,
    finish,
    hit,
    processes,
    refused,
    wait_for,
)

from p2pqg.results.checkpoint import newest
from p2pqg.results.run import load

# Processes


def actor(trial: Trial) -> None:
    """SIGKILL to the process of an actor; the run goes on by itself."""
    process = trial.start()
    trial.some_time()
    actors = processes("ray::HostActor")
    if not actors:
        raise MissedError
    with suppress(ProcessLookupError):
        os.kill(trial.chance.choice(actors), signal.SIGKILL)
    finish(process)
    trial.check_it_restarted()


def stopped(trial: Trial) -> None:
    """SIGSTOP to an actor, and SIGCONT some seconds later; the run waits for it."""
    process = trial.start()
    trial.some_time()
    actors = processes("ray::HostActor")
    if not actors:
        raise MissedError
    victim = trial.chance.choice(actors)
    with suppress(ProcessLookupError):
        os.kill(victim, signal.SIGSTOP)
        time.sleep(trial.chance.uniform(0.1, 4))
        os.kill(victim, signal.SIGCONT)
    finish(process)


def raylet(trial: Trial) -> None:
    """SIGKILL to the node of our own Ray, which has the object store; the run starts it anew."""
    _kill_a_process_of_ray(trial, "raylet/raylet ")


def gcs(trial: Trial) -> None:
    """SIGKILL to the head of our own Ray; the run starts it anew."""
    _kill_a_process_of_ray(trial, "gcs/gcs_server ")


def _kill_a_process_of_ray(trial: Trial, name: str) -> None:
    process = trial.start()
    trial.some_time()
    found = processes(name.replace(" ", "\0"))
    if not found or process.poll() is not None:
        raise MissedError
    with suppress(ProcessLookupError):
        os.kill(found[0], signal.SIGKILL)
    finish(process)
    trial.check_it_restarted()


def node(trial: Trial) -> None:
    """A node of the Ray cluster is lost with the actor on it; the run goes on on the other."""
    from ray.cluster_utils import Cluster  # noqa: TID251 (a cluster is what is broken here)

    quiet = {"num_cpus": 1, "include_dashboard": False, "env_vars": {"P2PQG_TEST": MARK}}
    cluster = Cluster(initialize_head=True, head_node_args=quiet)
    try:
        other = cluster.add_node(num_cpus=1, env_vars={"P2PQG_TEST": MARK})
        process = trial.start("--address", cluster.address)
        trial.some_time()
        cluster.remove_node(other, allow_graceful=False)
        finish(process)
    finally:
        cluster.shutdown()
    trial.check_it_restarted()


def driver(trial: Trial) -> None:
    """SIGKILL to the command itself, which takes Ray with it; resumed."""
    with trial.start() as process:
        trial.some_time()
        hit(process, signal.SIGKILL)
    trial.resume()


# Signals


def polite(trial: Trial) -> None:
    """Ctrl-C or SIGTERM; resumed."""
    process = trial.start()
    trial.some_time()
    hit(process, trial.chance.choice([signal.SIGINT, signal.SIGTERM]))
    _stopped_with_a_line(trial, process)
    trial.resume()


def hangup(trial: Trial) -> None:
    """SIGHUP to the command and all that it started, as of a terminal that closes; resumed."""
    process = trial.start()
    trial.some_time()
    hit(process, signal.SIGHUP, all_of_them=True)
    _stopped_with_a_line(trial, process)
    trial.resume()


def impatient(trial: Trial) -> None:
    """Ctrl-C in a terminal, and again and again soon after; resumed."""
    process = trial.start()
    trial.some_time()
    hit(process, signal.SIGINT, all_of_them=True)
    for _ in range(trial.chance.randint(1, 3)):
        time.sleep(trial.chance.uniform(0, 0.5))
        with suppress(MissedError, ProcessLookupError):
            hit(process, signal.SIGINT, all_of_them=True)
    _stopped_with_a_line(trial, process)
    trial.resume()


def early(trial: Trial) -> None:
    """Ctrl-C while the command starts; started again, or resumed."""
    process = trial.launch()
    time.sleep(trial.chance.uniform(0.2, 5))
    if (trial.path / "rounds.parquet").exists():
        process.kill()
        process.communicate()
        raise MissedError
    hit(process, signal.SIGINT, all_of_them=True)
    said = finish(process, code=1)
    if said.count("\n") > 1 and "most recent call last" not in said:  # Python's own: we are not yet
        raise AssertionError(f"more than a line: {said[-500:]}")
    if (trial.path / "config.yaml").exists():
        trial.resume()
    else:
        finish(trial.launch())


def late(trial: Trial) -> None:
    """Ctrl-C when the results are written and the command is about to end: nothing is lost."""
    process = trial.launch()
    wait_for((trial.path / "summary.json").exists, process, poll=0.001)
    time.sleep(trial.chance.uniform(0, 0.7))
    if process.poll() is None:
        hit(process, signal.SIGINT, all_of_them=True)
    said, code = process.communicate(timeout=60)[1], process.returncode
    if code not in (0, 1) or said.count("\n") > code:
        raise AssertionError(f"exit code {code}: {said[-500:]}")


def _stopped_with_a_line(trial: Trial, process: subprocess.Popen) -> None:
    said = finish(process, code=1)
    if f"p2pqg resume {trial.path}" not in said or said.count("\n") != 1:
        raise AssertionError(f"it did not say in a line how to go on: {said[-500:]}")


# Files


def writing(trial: Trial) -> None:
    """SIGKILL to the command while it writes a checkpoint; resumed."""
    with trial.start() as process:
        trial.some_time()
        wait_for(lambda: any(trial.path.glob("checkpoints/.round-*")), process)
        time.sleep(trial.chance.uniform(0, 0.05))
        hit(process, signal.SIGKILL)
    trial.resume()


def ending(trial: Trial) -> None:
    """SIGKILL between the last checkpoint and the end of summary.json; resumed."""
    with trial.launch() as process:
        last = trial.path / "checkpoints" / f"round-{trial.rounds:09d}"
        if trial.chance.random() < 0.5:
            wait_for(last.exists, process, poll=0.0005)
            time.sleep(trial.chance.uniform(0, 0.1))
        else:
            wait_for((trial.path / "summary.tmp").exists, process, poll=0)
        hit(process, signal.SIGKILL)
    if not (trial.path / "summary.json").exists():
        trial.resume()


def damage(trial: Trial) -> None:
    """SIGKILL to the command, and a file of its newest checkpoint is damaged; resumed."""
    with trial.start() as process:
        wait_for(lambda: len(list(newest(trial.path / "checkpoints"))) == 2, process)
        trial.some_time(0.5)
        hit(process, signal.SIGKILL)
    file = trial.chance.choice(sorted(next(newest(trial.path / "checkpoints")).iterdir()))
    content = bytearray(file.read_bytes())
    at = trial.chance.randrange(len(content) - 1)
    match trial.chance.choice(["flip", "cut", "remove"]):
        case "flip":
            content[at] ^= 1 << trial.chance.randrange(8)
            file.write_bytes(content)
        case "cut":
            file.write_bytes(content[:at])
        case "remove":
            file.unlink()
    trial.resume()


def truncated(trial: Trial) -> None:
    """SIGKILL, and any file of the run is cut short: read as it is, then resumed."""
    with trial.start() as process:
        wait_for(lambda: len(list(newest(trial.path / "checkpoints"))) == 2, process)
        hit(process, signal.SIGKILL)
    files = [
        path for path in sorted(trial.path.rglob("*")) if path.is_file() and path.name[0] != "."
    ]
    file = trial.chance.choice(files)
    whole = file.read_bytes()
    file.write_bytes(whole[: trial.chance.randrange(len(whole))])
    _read(trial)
    if said := refused(command("resume", str(trial.path))):
        if file.name != "config.yaml":
            raise AssertionError(f"{file.name} cut short: {said}")
        file.write_bytes(whole)
        trial.resume()
    _cut_short_and_read(trial)


def _cut_short_and_read(trial: Trial) -> None:
    """Of a run that has ended, and whole again afterwards."""
    name = trial.chance.choice(["rounds.parquet", "clients.parquet", "config.yaml", "summary.json"])
    file = trial.path / name
    whole = file.read_bytes()
    file.write_bytes(whole[: trial.chance.randrange(len(whole))])
    _read(trial)
    file.write_bytes(whole)


def _read(trial: Trial) -> None:
    """A report and a comparison of the run come out, or a line says why not."""
    page = trial.out / "page.html"
    for words in (["report", str(trial.path), "--out", str(page)], ["compare", str(trial.path)]):
        process = command(*words, quiet=False)
        said, code = process.communicate(timeout=120)[1], process.returncode
        if code not in (0, 2) or said.count("\n") > 4 or "a bug in p2pqg" in said:
            raise AssertionError(f"{words[0]}: exit code {code}: {said[-500:]}")
    page.unlink(missing_ok=True)


def newer(trial: Trial) -> None:
    """A checkpoint of a version to come: refused in a line, and nothing of the run is touched."""
    with trial.start() as process:
        wait_for(lambda: len(list(newest(trial.path / "checkpoints"))) == 2, process)
        hit(process, signal.SIGKILL)
    headers = [path / "checkpoint.json" for path in newest(trial.path / "checkpoints")]
    kept = [path.read_bytes() for path in headers]
    for path, content in zip(headers, kept, strict=True):
        header = json.loads(content)
        path.write_text(json.dumps(header | {"format": header["format"] + 1}))
    if "format" not in (said := refused(command("resume", str(trial.path)))):
        raise AssertionError(f"a newer checkpoint: {said!r}")
    for path, content in zip(headers, kept, strict=True):
        path.write_bytes(content)
    trial.resume()


def amnesia(trial: Trial) -> None:
    """All checkpoints are deleted, and at once an actor is killed: it starts from the beginning."""
    process = trial.start()
    trial.some_time(0.5)
    actors = processes("ray::HostActor")
    if not actors:
        raise MissedError
    shutil.rmtree(trial.path / "checkpoints", ignore_errors=True)
    with suppress(ProcessLookupError):
        os.kill(trial.chance.choice(actors), signal.SIGKILL)
    finish(process)
    trial.check_it_restarted()


def deleted(trial: Trial) -> None:
    """The directory of the run is deleted under its hands; it makes it anew."""
    process = trial.start()
    trial.some_time()
    if process.poll() is not None:
        raise MissedError
    while trial.path.exists():
        shutil.rmtree(trial.path, ignore_errors=True)
    finish(process)
    if load(trial.path).config["rounds"] != trial.rounds:
        raise AssertionError("its recipe is lost")


def twins(trial: Trial) -> None:
    """Two runs, or resumes, of one name at the same moment: one of them is refused."""
    if trial.chance.random() < 0.5:
        with trial.start() as process:
            trial.some_time()
            hit(process, signal.SIGKILL)
        both = [command("resume", str(trial.path)) for _ in range(2)]
    else:
        both = [trial.launch() for _ in range(2)]
    said = [process.communicate(timeout=300)[1] for process in both]
    codes = sorted(process.returncode for process in both)
    if codes != [0, 2] or "".join(said).count("\n") != 1:
        raise AssertionError(f"exit codes {codes}: {said}")


# Disks


def disk(trial: Trial) -> None:
    """The disk is full, for a while or until the run ends; resumed in the latter case."""
    with small_disk(trial.out):
        process = trial.start()
        trial.some_time(0.3)
        with full(trial.out):
            _wait_or_end(trial, process)
        _go_on_after_that(trial, process)
        shutil.copytree(trial.path, copy := trial.out.with_name("run"))
    shutil.move(copy, trial.path)


def readonly(trial: Trial) -> None:
    """Nothing can be written, for a while or until the run ends; resumed in the latter case."""
    process = trial.start()
    trial.some_time(0.3)
    with read_only(trial.path):
        _wait_or_end(trial, process)
    _go_on_after_that(trial, process)


def _wait_or_end(trial: Trial, process: subprocess.Popen) -> None:
    if trial.chance.random() < 0.5:
        trial.some_time(0.4)
    else:
        said = finish(process, code=1)
        if said.count("\n") != 1:
            raise AssertionError(f"more than a line: {said}")


def _go_on_after_that(trial: Trial, process: subprocess.Popen) -> None:
    if process.returncode is None:
        finish(process)
    else:
        trial.resume()


def report(trial: Trial) -> None:
    """The disk is full while a page is written: a line, and the page of before is still there."""
    finish(trial.launch())
    folder = trial.out / "pages"
    page = folder / "page.html"
    with small_disk(folder):
        finish(command("report", str(trial.path), "--out", str(page), quiet=False), prints=True)
        before = page.read_bytes()
        with full(folder):
            if not refused(command("report", str(trial.path), "--out", str(page), quiet=False)):
                raise AssertionError("a page was written to a full disk")
        if page.read_bytes() != before:
            raise AssertionError("the page of before is damaged")
    shutil.rmtree(folder)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own, of 2 MB, while inside; needs root."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder cannot be written, not even by root, while inside; needs root."""
    mount = ["mount", "--bind", str(folder), str(folder)]
    subprocess.run(mount, check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Whatever room there is in a file system is taken at once, while inside."""
    ballast, over = folder / "ballast", threading.Event()

    def fill() -> None:
        with ballast.open("ab", buffering=0) as file:
            while not over.wait(0.001):
                with suppress(OSError):
                    while True:
                        file.write(bytes(4096))

    filling = threading.Thread(target=fill)
    filling.start()
    try:
        yield
    finally:
        over.set()
        filling.join()
        ballast.unlink()


# A method of the user's


def raising(trial: Trial) -> None:
    """It raises in the middle: a line says where; it is mended, and the run resumed."""
    process = trial.start()
    trial.some_time(0.5)
    FLAG.write_text("raise")
    said = finish(process, code=1)
    FLAG.unlink()
    if said.count("\n") != 1 or METHOD.name not in said or "my own mistake" not in said:
        raise AssertionError(f"it did not say in a line what is wrong: {said[-500:]}")
    trial.resume()


def hanging(trial: Trial) -> None:
    """It hangs: Ctrl-C twice ends the command; it is mended, and the run resumed."""
    process = trial.start()
    trial.some_time(0.5)
    FLAG.write_text("hang")
    time.sleep(1)
    hit(process, signal.SIGINT, all_of_them=True)
    time.sleep(1)
    hit(process, signal.SIGINT, all_of_them=True)
    began = time.monotonic()
    try:
        _stopped_with_a_line(trial, process)
    finally:
        FLAG.unlink()
    if time.monotonic() - began > 20:
        raise AssertionError("it took long to end")
    trial.resume()


def not_a_number(trial: Trial) -> bool:
    """It gives one client a NaN: a line names the client, and what was recorded is there."""
    process = trial.start()
    trial.some_time(0.5)
    FLAG.write_text("nan")
    try:
        said = finish(process, code=1)
    finally:
        FLAG.unlink(missing_ok=True)
    if said.count("\n") != 1 or "non-finite loss" not in said or "client" not in said:
        raise AssertionError(f"it did not name the client: {said[-500:]}")
    rows = load(trial.path).rounds
    if not len(rows) or rows["train_loss"].isna().any():
        raise AssertionError("rows are lost")
    return False


KINDS: dict[str, tuple[Callable[[Trial], bool | None], list[str]]] = {
    "actor": (actor, SMALL),
    "stopped": (stopped, SMALL),
    "raylet": (raylet, SMALL),
    "gcs": (gcs, SMALL),
    "node": (node, SMALL),
    "driver": (driver, SMALL),
    "polite": (polite, SMALL),
    "hangup": (hangup, SMALL),
    "impatient": (impatient, SMALL),
    "early": (early, SMALL),
    "late": (late, SMALL),
    "writing": (writing, LARGE),
    "ending": (ending, ALONE),
    "damage": (damage, ALONE),
    "truncated": (truncated, ALONE),
    "newer": (newer, ALONE),
    "amnesia": (amnesia, SMALL),
    "deleted": (deleted, SMALL),
    "twins": (twins, SMALL),
    "disk": (disk, SMALL),
    "readonly": (readonly, SMALL),
    "report": (report, ALONE),
    "raising": (raising, OWN),
    "hanging": (hanging, OWN),
    "nan": (not_a_number, OWN),
}
