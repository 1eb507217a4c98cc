"""A cell of the paper's Table 1, on a card that is at hand for minutes: in pieces, if need be.

    python tests/gpu/cell.py --data CIFAR10 --out OUT --minutes 5                 the first piece
    python tests/gpu/cell.py --data CIFAR10 --out OUT --minutes 5 --from PIECES   what is left
    python tests/gpu/cell.py --rehearse --out OUT --minutes 1                     on a CPU

It is `p2pqg run` of `runs/cifar10-resnet20.yaml` (ring of 16, alpha 0.1, 300 epochs) in bf16,
without Ray. `--set KEY=VALUE` changes it: `--set 'algorithm={name: dsgdm-n, beta: 0.9}'` is the
other method, `--set model=resnet20-gn` the other network. When the time is over it is stopped as by
Ctrl-C, which keeps a checkpoint, and what it needs to go on lies in OUT:

    cell.json          how far it came, and how fast
    cell.log           what it said
    cell.tar.xz.00...  the run and its last checkpoint, cut into pieces of at most 15 MiB

PIECES is a folder with those of the last time; `cat cell.tar.xz.* | tar xJ` unpacks the run.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "runs" / "cifar10-resnet20.yaml"
NAME = "cell"
ARCHIVE = f"{NAME}.tar.xz"
PIECE = 15 * 2**20
"""Bytes: what carries files away may take small ones only."""
TO_STOP, TO_PACK = 25.0, 20.0
"""Seconds that it may take to keep a checkpoint, and to pack it."""
EVERY = 977
"""Rounds between evaluations: ten epochs."""

REHEARSAL = ("--dataset", "synthetic", "--model", "cnn", "--set", "dataset.image_side=8")


def command(options: argparse.Namespace, work: Path) -> list[str]:
    """What runs, or goes on."""
    device = "cpu" if options.rehearse else "cuda"
    there = ["--engine", "local", "--device", device]
    there += ["--data-dir", str(options.data)] if options.data else []
    there += ["--capture", "rehearse"] if options.rehearse else []
    begin = [sys.executable, "-m", "p2pqg.cli"]
    if (work / NAME).is_dir():
        return [*begin, "resume", str(work / NAME), *there]
    run = [*begin, "run", str(RECIPE), *there, "--out", str(work), "--name", NAME]
    run += ["--precision", "bf16", "--eval-every", str(EVERY), "--record-every", str(EVERY)]
    run += [*REHEARSAL] if options.rehearse else []
    for one in options.set:
        run += ["--set", one]
    return run


def led(run: list[str], log: Path, until: float) -> str:
    """It runs until it is over or the time is; what became of it."""
    environment = dict(os.environ)
    if (ROOT / "p2pqg").is_dir():
        paths = [str(ROOT), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    with log.open("w", encoding="utf-8") as said:
        process = subprocess.Popen(
            run, stdout=said, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            code = process.wait(max(1.0, until - time.time()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(TO_STOP)
            except subprocess.TimeoutExpired:  # then the checkpoint before is the last one
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return "killed"
            return "stopped"
    return "over" if code == 0 else f"exit {code}"


def found(home: Path) -> dict[str, Any]:
    """How far the run came."""
    with contextlib.suppress(OSError, ValueError):
        said: dict[str, Any] = json.loads((home / "summary.json").read_text(encoding="utf-8"))
        return said
    return {}


def packed(home: Path, out: Path, finished: bool) -> list[str]:
    """The run directory in pieces; of the checkpoints the last one, if it has to go on."""
    checkpoints = sorted((home / "checkpoints").glob("round-*"))
    left_out = {path.name for path in (checkpoints if finished else checkpoints[:-1])}

    def wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if Path(member.name).name in left_out else member

    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:xz", preset=1) as archive:
        archive.add(home, NAME, filter=wanted)
    content, names = whole.getbuffer(), []
    for number, first in enumerate(range(0, len(content), PIECE)):
        names.append(f"{ARCHIVE}.{number:02d}")
        (out / names[-1]).write_bytes(content[first : first + PIECE])
    return names


def unpacked(pieces: Path, work: Path) -> None:
    """The run directory of the last time.

    Raises:
        SystemExit: there is none.
    """
    names = sorted(pieces.glob(f"{ARCHIVE}.*"))
    if not names:
        sys.exit(f"{pieces} has no {ARCHIVE}.00")
    whole = io.BytesIO(b"".join(name.read_bytes() for name in names))
    with tarfile.open(fileobj=whole, mode="r:xz") as archive:
        archive.extractall(work, filter="data")


def main() -> None:
    """One piece; exit code 1 if the run failed."""
    say = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    say.add_argument("--data", type=Path, help="CIFAR-10: train.parquet and test.parquet")
    say.add_argument("--out", type=Path, required=True, help="where results are left")
    say.add_argument("--minutes", type=float, required=True, help="that it may take")
    say.add_argument("--from", dest="before", type=Path, help="the pieces of the last time")
    say.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    say.add_argument("--rehearse", action="store_true", help="a small network on a CPU")
    options = say.parse_args()
    until = time.time() + 60 * options.minutes - TO_STOP - TO_PACK
    if until < time.time():
        sys.exit(f"--minutes must be above {(TO_STOP + TO_PACK) / 60:.2f}")
    if options.before and options.set:
        sys.exit("--set is for a cell that begins; with --from leave it out")
    options.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    work = Path(tempfile.mkdtemp(prefix="p2pqg-cell-"))
    if options.before:
        unpacked(options.before, work)
    before, began = found(work / NAME), time.time()
    how = led(command(options, work), options.out / f"{NAME}.log", until)
    seconds, after = time.time() - began, found(work / NAME)
    rounds = after.get("rounds", 0) - before.get("rounds", 0)
    names = packed(work / NAME, options.out, how == "over") if (work / NAME).is_dir() else []
    told = {
        "how": how,
        "seconds": round(seconds, 1),
        "rounds_now": rounds,
        "ms_a_round_with_everything": rounds and round(1e3 * seconds / rounds, 3),
        "pieces": names,
        "summary": after,
    }
    (options.out / f"{NAME}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print((options.out / f"{NAME}.log").read_text(encoding="utf-8", errors="replace")[-3000:])
    print(json.dumps(told | {"summary": None}))
    shutil.rmtree(work)
    sys.exit(0 if how in ("over", "stopped", "killed") else 1)


if __name__ == "__main__":
    main()
