"""One command for a card that is at hand for minutes: is p2pqg right on it, and how fast?

    python tests/gpu/check.py                        six minutes on a GPU
    python tests/gpu/check.py --device cpu --tiny    the same on a CPU in a minute: is it whole?
    python tests/gpu/check.py --pack SITE.tar.xz     put what it needs into an archive of packages

An archive for a machine without a network has the packages that p2pqg needs, itself among them, at
its top. There: mkdir site; tar xJf SITE.tar.xz -C site; chmod -R u+x site/ray/core/src/ray; export
PYTHONPATH=$PWD/site; python3 site/tests/gpu/check.py --only tests, then all of it.

What tells most comes first:
whole     a small run on the CPU: if something is missing, nothing follows
ceilings  of the card: copying, matrix products
tests     the gpu tests, each in a process of its own with a time limit
reach     job R: 16 ResNet-20 with GN on a ring, batches of 32, gossip SGD, in bf16 and float32, by
          `p2pqg run` with one actor and with one per client; with the time to the first round,
          what was chosen to compute gradients, and the memory taken
bare      the same in bare PyTorch (`bare.py`)
rest      with --profile (where the time goes: it waits for the card at each step); then both with
          EvoNorm, and with 32 clients

What there is no time for is named and left out. Results are in --out after every test and run,
whatever ends it. It needs this folder in a checkout or an archive, or beside it an installed p2pqg;
the tests are taken from --tests. A long run of the paper, in pieces: `cell.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import queue
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
"""Of a checkout, or of an unpacked archive."""
TESTS = HERE.parent / "end_to_end" / "test_cuda.py"
PIECES = ("whole", "ceilings", "tests", "reach", "bare", "rest")
TEST_LIMIT, RUN_LIMIT = 90, 120
"""Seconds for one test, and for one run or all baselines of a cell."""
CORES_OF_A_TEST = 2
"""So many tests at a time as that leaves room for: each would take all cores for itself."""
SHARES = {"tests": 0.4}
"""Of all the time, when these must be over."""

ON_CORES = """
import os, sys
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, map(int, sys.argv[1].split(",")))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""

Cell = tuple[str, str, int]
"""Model, precision and clients."""

CEILINGS = """
import json, sys, time, torch
device, size, side = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sync = torch.cuda.synchronize if device == "cuda" else lambda: None
def seconds(work):
    work(); sync(); times = []
    for _ in range(5):
        start = time.perf_counter(); work(); sync(); times.append(time.perf_counter() - start)
    return sorted(times)[2]
torch.backends.cuda.matmul.allow_tf32 = False
a = torch.zeros(size, device=device); b = torch.empty_like(a)
m = torch.randn(side, side, device=device); h = m.bfloat16()
print(json.dumps({
    "card": torch.cuda.get_device_name() if device == "cuda" else "cpu",
    "torch": torch.__version__, "cuda": torch.version.cuda,
    "memory_bytes": torch.cuda.mem_get_info()[1] if device == "cuda" else None,
    "copy_TB_per_s": 2 * a.nbytes / seconds(lambda: b.copy_(a)) / 1e12,
    "float32_TFLOP_per_s": 2 * side**3 / seconds(lambda: m @ m) / 1e12,
    "bf16_TFLOP_per_s": 2 * side**3 / seconds(lambda: h @ h) / 1e12,
}))
"""


class Check:
    """What is known so far, on disk after every piece.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.began = options, time.time()
        self.found: dict[str, Any] = {
            "began": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
            "device": options.device,
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "whole": {},
            "ceilings": {},
            "tests": {},
            "bare": [],
            "p2pqg": [],
            "left_out": [],
        }
        self._writing = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._interrupted = False
        self.environment = dict(os.environ)
        self.environment.setdefault("P2PQG_CACHE", tempfile.mkdtemp(prefix="p2pqg-check-"))
        self.environment["P2PQG_GPU_TESTS"] = options.device
        if (ROOT / "p2pqg").is_dir():  # it may be there without being installed
            paths = [str(ROOT), self.environment.get("PYTHONPATH", "")]
            self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))

    def left(self, share: float = 1.0) -> float:
        """Seconds until that share of the time is over."""
        return self.began + share * 60 * self.options.minutes - time.time()

    def write(self) -> None:
        """All that is known, under the final name only when it is whole."""
        with self._writing:
            self.found["seconds"] = round(time.time() - self.began, 1)
            draft = self.options.out.with_suffix(".tmp")
            draft.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")
            os.replace(draft, self.options.out)

    def say(self, *words: object) -> None:
        """A line with the seconds since the beginning."""
        print(f"[{time.time() - self.began:5.1f}]", *words, flush=True)

    def ended(self, command: list[str], limit: float) -> tuple[str, str]:
        """What a process printed, and how it failed; "": it did not."""
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            start_new_session=True,
        )
        self._running.add(process)
        try:
            out, error = process.communicate(timeout=max(1.0, limit))
        except subprocess.TimeoutExpired:
            _kill(process)
            out, _ = process.communicate()
            return out, f"did not end in {limit:.0f} s"
        except KeyboardInterrupt:  # it is in a session of its own, and would go on
            _kill(process)
            raise
        finally:
            self._running.discard(process)
        lines = error.strip().splitlines() or out.strip().splitlines() or ["no word"]
        return out, "" if process.returncode == 0 else f"exit {process.returncode}: {lines[-1]}"

    def whole(self) -> None:
        """Whether all that a run needs is there, before a card's time is spent on finding out.

        Raises:
            RuntimeError: it is not.
        """
        with tempfile.TemporaryDirectory() as out:
            command = [sys.executable, "-m", "p2pqg.cli", "run", "--topology", "ring4", "--json"]
            command += ["--dataset", "synthetic", "--set", "dataset.image_side=8", "--model", "mlp"]
            command += ["--rounds", "2", "--clients-per-actor", "2", "--device", "cpu"]
            command += ["--capture", "rehearse", "--out", out]
            printed, wrong = self.ended(command, min(120, self.left()))
        if wrong:
            raise RuntimeError(f"nothing runs here ({wrong})")
        self.found["whole"] = summary_in(printed)["versions"]
        self.say("whole:", self.found["whole"])

    def ceilings(self) -> None:
        """What the card can do at most."""
        tiny = self.options.tiny or self.options.device == "cpu"
        size, side = (2**22, 512) if tiny else (2**28, 8192)
        command = [sys.executable, "-c", CEILINGS, self.options.device, str(size), str(side)]
        out, wrong = self.ended(command, min(60, self.left()))
        self.found["ceilings"] = {"failed": wrong} if wrong else summary_in(out)
        self.say("ceilings", self.found["ceilings"])

    def tests(self) -> None:
        """Each in its own process, some side by side."""
        file = self.options.tests
        if not file.is_file():
            self.found["left_out"].append(f"gpu tests: no {file}; give --tests")
            return
        pytest = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-W", "ignore"]
        pytest += ["-p", "no:cacheprovider", "-m", "gpu", "--rootdir", str(file.parent)]
        out, wrong = self.ended([*pytest, "--collect-only", str(file)], 60)
        names = [line.partition("::")[2] for line in out.splitlines() if "::" in line]
        if wrong or not names:
            self.found["left_out"].append(f"gpu tests: none collected ({wrong or 'no names'})")
            return
        names = names[:2] if self.options.tiny else sorted(names, key=_late)
        free = queue.SimpleQueue[str]()
        for some in _cores(1 if self.options.tiny else CORES_OF_A_TEST):
            free.put(some)
        side_by_side = 1 if self.options.tiny else free.qsize()

        def one(name: str) -> None:
            cores = free.get()
            try:
                on_these(name, cores)
            finally:
                free.put(cores)

        def on_these(name: str, cores: str) -> None:
            start, limit = time.time(), min(TEST_LIMIT, self.left(SHARES["tests"]))
            if limit < 5:
                with self._writing:
                    self.found["left_out"].append(f"test {name}")
                return
            command = [sys.executable, "-c", ON_CORES, cores, *pytest[1:], f"{file}::{name}"]
            out, wrong = self.ended(command, limit)
            outcome = wrong or ("skipped" if "skipped" in out and "passed" not in out else "passed")
            seconds = round(time.time() - start, 1)
            if self._interrupted:
                return
            row = {"outcome": outcome, "seconds": seconds}
            more = {"tail": out.splitlines()[-25:]} if wrong else {}
            with self._writing:
                self.found["tests"][name] = row | more
            self.say("test", name, outcome, f"{seconds} s")
            self.write()

        with ThreadPoolExecutor(side_by_side) as pool:
            try:
                list(pool.map(one, names))
            except KeyboardInterrupt:  # else it would wait until all tests are over
                self._interrupted = True
                pool.shutdown(wait=False, cancel_futures=True)
                for process in tuple(self._running):
                    _kill(process)
                raise

    def cells(self) -> Iterator[Cell]:
        """Model, precision and clients, the most telling first."""
        if self.options.tiny:
            yield "cnn", "bf16", 2
            yield "cnn", "float32", 2
            return
        for clients in (16, 32):
            for model in ("resnet20-gn", "resnet20-evonorm"):
                for precision in ("bf16", "float32"):
                    yield model, precision, clients

    def reach(self) -> None:
        """Job R as a user runs it, with one actor and with one per client."""
        for packing in ("one", "each"):
            for cell in list(self.cells())[:2]:
                self._ours(cell, packing)

    def bare(self) -> None:
        """Baselines of the same job."""
        for cell in list(self.cells())[:2]:
            self._bare(cell)

    def rest(self) -> None:
        """Where the time goes, and the other cells."""
        first, _, *others = self.cells()
        for packing in ("one", "each"):
            self._ours(first, packing, profiled=True)
        for cell in others:
            self._ours(cell, "one")
            self._bare(cell)
        for cell in others:
            self._ours(cell, "each")

    def _bare(self, which: Cell) -> None:
        """Each way of bare PyTorch."""
        model, precision, clients = which
        cell = {"model": model, "precision": precision, "clients": clients}
        seconds, side = ("0.05", "8") if self.options.tiny else ("0.7", "32")
        if self.left() < (5 if self.options.tiny else 15):
            self.found["left_out"].append(f"bare {cell}")
            return
        command = [sys.executable, str(HERE / "bare.py"), model, precision, str(clients)]
        command += [seconds, self.options.device, side]
        out, wrong = self.ended(command, min(RUN_LIMIT, self.left()))
        for line in out.splitlines():
            with contextlib.suppress(ValueError):
                self.found["bare"].append({**cell, **json.loads(line)})
                self.say("bare", self.found["bare"][-1])
        if wrong:
            self.found["bare"].append({**cell, "failed": wrong})
            self.say("bare", cell, wrong)
        self.write()

    def _ours(self, which: Cell, packing: str, profiled: bool = False) -> None:
        """`p2pqg run`, with "one" actor or one for "each" client."""
        model, precision, clients = which
        per_actor = clients if packing == "one" else 1
        cell = {"model": model, "precision": precision, "clients": clients, "actors": packing}
        if profiled:
            cell["profiled"] = True
        if self.left() < (5 if self.options.tiny else 25):
            self.found["left_out"].append(f"p2pqg {cell}")
            return
        with tempfile.TemporaryDirectory() as out, Memory(self.options.device) as memory:
            side = 8 if self.options.tiny else 32
            rounds = 3 if self.options.tiny else 300 if packing == "one" else 100
            command = [sys.executable, "-m", "p2pqg.cli", "run", "--json"]
            command += ["--profile"] if profiled else []
            command += ["--topology", f"ring{clients}", "--algorithm", "dsgd"]
            command += ["--dataset", "synthetic", "--set", f"dataset.image_side={side}"]
            command += ["--set", f"dataset.samples={128 * clients}", "--model", model]
            command += ["--precision", precision, "--clients-per-actor", str(per_actor)]
            command += ["--device", self.options.device, "--rounds", str(rounds), "--out", out]
            command += ["--set", f"eval_every={rounds}", "--set", "checkpoint_every=0"]
            command += ["--capture", self.options.capture]
            printed, wrong = self.ended(command, min(RUN_LIMIT, self.left() - 1))
            try:
                row = {**cell, "failed": wrong} if wrong else self._row(cell, printed, Path(out))
            except Exception as error:  # one line too many is no reason to lose the others
                row = {**cell, "failed": f"{type(error).__name__}: {error}; {printed[-200:]}"}
        self.found["p2pqg"].append({**row, **memory.taken})
        self.say("p2pqg", self.found["p2pqg"][-1])
        self.write()

    def _row(self, cell: dict[str, Any], printed: str, out: Path) -> dict[str, Any]:
        summary = summary_in(printed)
        speed = summary["client_steps_per_second"]
        kinds: dict[str, float] = {}
        for profile in out.glob("*/profile.json"):
            for host, spans in json.loads(profile.read_text(encoding="utf-8")).items():
                for kind, seconds in spans.items() if host != "driver" else ():
                    kinds[kind] = round(kinds.get(kind, 0.0) + seconds, 3)
        return {
            **cell,
            "round_ms": speed and round(1e3 * cell["clients"] / speed, 3),
            "client_steps": speed,
            "first_round_s": round(summary["startup_seconds"], 2),
            "ways": summary.get("ways", []),
            "seconds_by_kind": kinds,
        }

    def table(self) -> None:
        """All of it for people."""
        print(f"\n{'job R':<44}{'round, ms':>10}{'steps/s':>10}{'first, s':>10}{'GPU, GB':>9}")
        for row in [*self.found["bare"], *self.found["p2pqg"]]:
            who = row.get("how") or {"one": "p2pqg, 1 actor", "each": "p2pqg, 1 each"}.get(
                row.get("actors", ""), "bare"
            )
            who += ", profiled" if row.get("profiled") else ""
            name = f"{row['clients']} {row['model']} {row['precision']}, {who}"
            if "failed" in row:
                print(f"{name:<44}  {row['failed']}")
                continue
            numbers = [
                (row["round_ms"], 10, 2),
                (row["client_steps"], 10, 0),
                (row.get("first_round_s"), 10, 1),
                (row.get("gpu_GB"), 9, 2),
            ]
            cells = [f"{'-' if n is None else f'{n:,.{d}f}':>{w}}" for n, w, d in numbers]
            print(f"{name:<44}{''.join(cells)}")
            for way in row.get("ways", ()):
                print(f"    {way}")
        outcomes = [test["outcome"] for test in self.found["tests"].values()]
        passed = outcomes.count("passed")
        print(f"gpu tests: {passed} of {len(outcomes)} passed", end="")
        print(f", {outcomes.count('skipped')} skipped" if "skipped" in outcomes else "")
        for name, test in self.found["tests"].items():
            if test["outcome"] not in ("passed", "skipped"):
                told = [line for line in test.get("tail", ()) if line.startswith("E ")][:1]
                print(f"    {name}: {test['outcome']} {' '.join(told)[:200]}")
        for line in self.found["left_out"]:
            print("left out:", line)
        print("results:", self.options.out)


def summary_in(printed: str) -> dict[str, Any]:
    """The JSON in what a process printed; what else it printed is passed over."""
    found: dict[str, Any] = json.JSONDecoder().raw_decode(printed[max(0, printed.find("{")) :])[0]
    return found


def _late(name: str) -> int:
    """What tells most comes first; what may hang when it has no use for the others any more."""
    if "captured" in name or "wait" in name:
        return 0
    return 2 if "object_store" in name else 1


def _cores(each: int) -> list[str]:
    """So many cores together, as often as there are."""
    if not hasattr(os, "sched_getaffinity"):
        return ["0"] * max(1, (os.cpu_count() or 1) // each)
    there = [str(core) for core in sorted(os.sched_getaffinity(0))]
    whole = max(1, len(there) // each) * each
    return [",".join(there[first : first + each]) for first in range(0, whole, each)]


def _kill(process: subprocess.Popen[str]) -> None:
    """A process that `Check.ended` started, and those that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)


class Memory:
    """The most that was taken while it watches, on the card and beside it, in GB.

    Attributes:
        taken: gpu_GB (None: nobody could tell) and main_GB.
    """

    def __init__(self, device: str) -> None:
        self.on_gpu = device == "cuda"
        self.taken: dict[str, float | None] = {"gpu_GB": None, "main_GB": None}
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._watched, daemon=True)

    def __enter__(self) -> Memory:
        self._before = self._now()
        self._watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._watch.join()

    def _watched(self) -> None:
        while not self._over.wait(1.0):
            for name, now, before in zip(self.taken, self._now(), self._before, strict=True):
                if now is not None and before is not None:
                    most = max(self.taken[name] or 0.0, now - before)
                    self.taken[name] = round(most, 3)

    def _now(self) -> tuple[float | None, float | None]:
        gpu = main = None
        if self.on_gpu:
            with contextlib.suppress(OSError, ValueError, IndexError, subprocess.SubprocessError):
                ask = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
                said = subprocess.run(ask, capture_output=True, text=True, timeout=5, check=True)
                gpu = float(said.stdout.split()[0]) * 2**20 / 1e9
        with contextlib.suppress(OSError, ValueError, KeyError):
            lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
            fields = {key: value.split()[0] for key, _, value in (x.partition(":") for x in lines)}
            main = (int(fields["MemTotal"]) - int(fields["MemAvailable"])) * 1024 / 1e9
        return gpu, main


def pack(archive: Path) -> None:
    """Put these scripts and the gpu tests into an archive of packages, in place of older ones."""
    mine = [*sorted(HERE.glob("*.py")), TESTS]
    names = {f"tests/{path.parent.name}/{path.name}": path for path in mine}
    draft = archive.with_name(archive.name + ".tmp")
    with tarfile.open(archive) as old, tarfile.open(draft, "w:xz") as new:
        for member in old:
            if os.path.normpath(member.name) not in names:
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
        for name, path in names.items():
            new.add(path, name)
    os.replace(draft, archive)


def main() -> None:
    """Everything, in order; exit code 1 if a test or a run failed."""
    say = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    say.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    say.add_argument("--tiny", action="store_true", help="two clients of a small network")
    say.add_argument("--minutes", type=float, default=6.0, help="that it may take")
    say.add_argument("--out", type=Path, default=Path("gpu-check.json"))
    say.add_argument("--tests", type=Path, default=TESTS, help="the file of the gpu tests")
    say.add_argument("--only", choices=PIECES, action="append")
    say.add_argument("--capture", help="of the runs; default: auto, on a CPU rehearse")
    say.add_argument(
        "--pack", type=Path, metavar="SITE.tar.xz", help="only write into this archive"
    )
    options = say.parse_args()
    if options.pack:
        pack(options.pack)
        return
    options.capture = options.capture or ("auto" if options.device == "cuda" else "rehearse")
    check = Check(options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what runs ends, too
    broken = False
    for piece in options.only or PIECES:
        try:
            getattr(check, piece)()
        except Exception as error:  # what comes next may still tell something
            broken = True
            check.found["left_out"].append(f"{piece}: {type(error).__name__}: {error}")
            check.say(check.found["left_out"][-1])
            if piece == "whole":
                break
        except KeyboardInterrupt:
            broken = True
            check.found["left_out"].append(f"{piece} and what follows: interrupted")
            break
        finally:
            check.write()
    check.table()
    rows = [*check.found["bare"], *check.found["p2pqg"]]
    wrong = any("failed" in row for row in rows)
    bad = [t for t in check.found["tests"].values() if t["outcome"] not in ("passed", "skipped")]
    sys.exit(1 if wrong or bad or broken else 0)


if __name__ == "__main__":
    main()
