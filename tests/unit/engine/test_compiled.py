"""The compiled way to the values in the middle: the same bits as without it."""

import errno
import importlib.util
import math
import runpy
import sys

import numpy as np
import pytest
import torch

import p2pqg
from p2pqg.algorithms.gossip_rules import find_rule
from p2pqg.engine import trimming
from p2pqg.engine.middle import plan
from p2pqg.engine.mixer import Arrivals
from p2pqg.engine.robust import RuleMixer
from p2pqg.engine.routes import RowRoutes
from p2pqg.testing import Quadratics
from p2pqg.topology import build

needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="needs pip install 'p2pqg[fast]'"
)
RULES = ["median", {"name": "trimmed-mean", "f": 1}, {"name": "trimmed-mean", "f": 0}]


def both_ways(monkeypatch, make):
    """What the compiled way makes, of which is made sure that it was taken, and the other one."""
    calls = []
    module = trimming.compiled()
    assert module is not None, "Numba is installed, but engine.compiled cannot be had"

    class Counted(module.Middles):
        def __call__(self, *given):
            calls.append(given)
            return super().__call__(*given)

    with monkeypatch.context() as patch:
        patch.setattr(module, "Middles", Counted)
        fast = make()
    num_calls = len(calls)
    assert num_calls
    with monkeypatch.context() as patch:
        patch.setattr(trimming, "compiled", lambda: None)
        slow = make()
    assert len(calls) == num_calls
    return fast, slow


def rows_of(num_rows, width, dtype, seed):
    """Rows with many equal values, zeros of both signs, and what is not finite."""
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((num_rows, width)).round(1)
    for value in (0.0, -0.0, math.inf, -math.inf, math.nan):
        x[draw.random(x.shape) < 0.04] = value
    return torch.from_numpy(x).to(dtype)


@needs_numba
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("network", ["social32", "ring90", "complete13"])
def test_the_bits_are_those_without_numba(network, dtype, threads, monkeypatch):
    monkeypatch.setattr(trimming.compiled(), "ALONE_UP_TO", 0)  # else few values want no threads
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    W = build(network).mixing(0)
    bits = torch.int32 if dtype == torch.float32 else torch.int64
    for seed, (width, rule) in enumerate((w, r) for w in (1, 33, 4501) for r in RULES):
        for bounds in ((0, W.num_clients), (0, 5, W.num_clients)):
            routes = RowRoutes.cut(W, bounds)
            block = len(bounds) - 2
            arrivals = Arrivals.of(routes, block)
            x = rows_of(len(routes.senders[block]), width, dtype, seed)
            for rows in (x, x.nan_to_num(nan=0.0, posinf=1.0, neginf=-1.0)):

                def mixed(rows=rows, arrivals=arrivals, rule=rule):
                    return RuleMixer(arrivals, find_rule(rule), rows)(rows, 0.0)

                fast, slow = both_ways(monkeypatch, mixed)
                assert torch.equal(fast.view(bits), slow.view(bits))


@needs_numba
def test_a_run_ends_at_the_same_numbers_with_and_without_numba(monkeypatch):
    problem = Quadratics.random(32, 6, seed=3)
    x0 = np.random.default_rng(0).standard_normal((32, 6))

    def path(blocks=None):
        return p2pqg.trajectory(
            "qg-dsgdm-n",
            problem.gradient,
            x0,
            topology="social32",
            rounds=20,
            lr=0.1,
            rule="median",
            blocks=blocks,
        )

    fast, slow = both_ways(monkeypatch, path)
    assert np.array_equal(fast, slow)
    assert np.array_equal(fast, path([5, 27]))


@needs_numba
def test_in_a_process_that_was_forked_there_are_threads_again(monkeypatch):
    pools = trimming.compiled()._pools
    of_parent = pools()(2)
    assert pools()(2) is of_parent
    of_parent.shutdown()
    monkeypatch.setattr("os.getpid", lambda: 0)
    assert list(pools()(2).map(abs, [1, -2])) == [1, 2]


@needs_numba
def test_where_nothing_can_be_kept_on_disk_it_is_compiled_all_the_same():
    space = {}
    exec("def twice(x):\n    return 2 * x", space)  # of no file: there is no place beside it
    assert trimming.compiled()._kernel(space["twice"])(21) == 42


@needs_numba
def test_where_the_disk_is_full_it_is_compiled_all_the_same(tmp_path, monkeypatch):
    def full(*args):
        seen.append(args)
        raise OSError(errno.ENOSPC, "no space left")

    seen, file = [], tmp_path / "twice.py"
    file.write_text("def twice(x):\n    return 2 * x\n")
    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", full)
    twice = trimming.compiled()._kernel(runpy.run_path(str(file))["twice"])
    assert [twice(21), twice(4)] == [42, 8]
    assert len(seen) == 1


@needs_numba
def test_one_process_compiles_at_a_time_and_what_is_compiled_waits_for_none(tmp_path, monkeypatch):
    from numba.core import caching

    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr("numba.config.CACHE_DIR", "")  # beside the file
    seen, file = [], tmp_path / "twice.py"
    file.write_text("def twice(x):\n    return 2 * x\n")
    twice = trimming.compiled()._kernel(runpy.run_path(str(file))["twice"])
    save = caching.IndexDataCacheFile.save

    def watched(*given):
        """As another process would, that keeps something at the same time."""
        (lock,) = tmp_path.rglob("twice.lock")
        with lock.open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        seen.append(lock)
        return save(*given)

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", watched)
    for dtype in (np.float32, np.float64):
        assert twice(np.ones(3, dtype)).dtype == dtype
    assert len(seen) == 2
    with seen[0].open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)  # who waited for it now would wait for ever
        assert twice(np.ones(3, np.float32)).tolist() == [2, 2, 2]


@needs_numba
def test_numba_told_not_to_compile_is_left_alone(monkeypatch):
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    assert trimming.compiled.__wrapped__() is None


def test_without_numba_there_is_the_other_way(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    assert trimming.compiled.__wrapped__() is None


@pytest.mark.parametrize("n", range(2, 18))
def test_a_plan_that_is_apart_writes_nothing_that_it_reads_and_one_that_is_not_needs_no_more(n):
    for left_out in range((n - 1) // 2 + 1):
        apart, close = plan(n, left_out, apart=True), plan(n, left_out)
        assert not any({one, other} & set(to) for _, one, other, *to in apart.steps)
        assert [step[0] for step in apart.steps] == [step[0] for step in close.steps]
        assert close.num_spare <= apart.num_spare
        assert apart.steps[-1][3] == n + apart.num_spare - 1
        # A minimum leaves what the maximum of the same step is still to read.
        assert not any(o == 3 and to in (x, y) for o, x, y, to, _ in close.steps)
