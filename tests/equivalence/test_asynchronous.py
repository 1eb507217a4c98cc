"""Clients that do not wait, against a plain simulation: one client at a time, no waves, NumPy."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from p2pqg.base.config import made
from p2pqg.base.errors import ConfigError
from p2pqg.base.seeding import uniforms
from p2pqg.engine.block import lockstep
from p2pqg.engine.waves.routing import WaveRouting, meeting_rates
from p2pqg.network import ClockParams, Network, Timing
from p2pqg.network.impairments import Impairments
from p2pqg.testing import UNIVERSAL, Quadratics, assert_same, check_permutation, run, starts
from p2pqg.theory.trajectories import at_start, trajectory
from p2pqg.topology import build

DIM, LR, ROUNDS, SEED = 3, 0.05, 12, 7
MESSAGE = {"acid": DIM, "async-sgp": DIM + 1, "gossip-learning": DIM + 1}
"""Numbers in a message; 8 bytes each."""
PATIENCE = 3


# The algorithms, of one client: s has x, m, ...


def ad_psgd(s, g, p):
    s.x = s.x - LR * g


def acid_flow(s, p, elapsed):
    eta = 0.5 / np.sqrt(p.chi1 * p.chi2)
    share = (1 - np.exp(-2 * eta * elapsed)) / 2
    s.x, s.xt = s.x + share * (s.xt - s.x), s.xt + share * (s.x - s.xt)


def acid_meet(s, other, p):
    s.xt = s.xt + 0.5 * np.sqrt(p.chi1 / p.chi2) * (other - s.x)
    s.x = (s.x + other) / 2


def nesterov(s, g):
    s.m = 0.9 * s.m + g
    return g + 0.9 * s.m


def mixed(own, inbox):
    return (1 - sum(w for w, _ in inbox)) * own + sum((w * c for w, (c, *_) in inbox), 0 * own)


PUSH = {  # name: (what is sent, what is read, what becomes of it)
    "async-dsgdm-n": ("x", "newest", lambda s, box, kept: setattr(s, "x", mixed(s.x, box))),
    "swift": ("x", "last", lambda s, box, kept: setattr(s, "x", mixed(s.x, box))),
    "async-qg-dsgdm-n": ("x", "newest", lambda s, box, kept: quasi_global(s, box)),
    "async-sgp": ("x w", "all", lambda s, box, kept: push_sum(s, box, kept)),
    "gossip-learning": ("x t", "all", lambda s, box, kept: merge(s, box)),
}


def half_step(name, s, g):
    match name:
        case "async-dsgdm-n" | "async-sgp":
            s.x = s.x - LR * nesterov(s, g)
        case "async-qg-dsgdm-n":
            s.before, s.x = s.x, s.x - LR * (g + 0.9 * (g + 0.9 * s.m))
        case _:
            s.x, s.t = s.x - LR * g, s.t + 1


def quasi_global(s, inbox):
    s.x = mixed(s.x, inbox)
    s.m = 0.9 * s.m + 0.1 * (s.before - s.x) / LR


def push_sum(s, inbox, kept):
    s.x = kept * s.x + sum((w * x for w, (x, _) in inbox), 0 * s.x)
    s.w = kept * s.w + sum(w * v for w, (_, v) in inbox)


def merge(s, inbox):
    s.x = (s.x + sum((x for _, (x, _) in inbox), 0 * s.x)) / (1 + len(inbox))
    s.t = max([s.t, *(t for _, (_, t) in inbox)])


# The world, one client at a time


class Plain:
    """What all clients do, as the documentation says it."""

    def __init__(self, name, problem, network, x0):
        self.name, self.problem, self.n, self.now = name, problem, len(x0), 0.0
        self.clients = [
            SimpleNamespace(x=x, xt=x, m=0 * x, w=1.0, t=0, read=x, ready=0.0, last=0.0, free=0.0)
            for x in x0
        ]
        self.steps = [0] * self.n
        self.mail, self.meetings = [], []  # on their way, and under way
        self.held = [{} for _ in range(self.n)]
        self.line = [0.0] * self.n
        self.heard = [True] * self.n  # of anybody since it sent; with `silent` steps since then
        self.silent = [0] * self.n
        self.network, self.total, self.target = network, 0, 0
        for i in self.here:
            self.begin(i)

    @property
    def here(self):
        return [i for i in range(self.n) if i not in self.network.absent]

    def become(self, network):
        """From now on another network."""
        gone = set(self.here)
        back = [i for i in range(self.n) if i not in network.absent and i not in gone]
        self.network = network
        for meeting in list(self.meetings):
            if not {meeting[1], meeting[2]} <= set(self.here):
                self.meetings.remove(meeting)
                self.clients[meeting[1]].free = self.clients[meeting[2]].free = self.now
        self.mail = [m for m in self.mail if m[1] in self.here]
        for i in range(self.n):
            known = set(network.neighbors(i)) if i in self.here else set()
            self.held[i] = {j: m for j, m in self.held[i].items() if j in known}
        for i in back:
            self.clients[i].free = self.clients[i].last = self.line[i] = self.now
            self.heard[i] = True
            self.begin(i)

    def begin(self, i):
        s, compute = self.clients[i], self.network.timing.compute
        s.read = s.x / s.w
        s.ready = self.now + float(compute.seconds_of(np.array([i]), self.steps[i])[0])

    def gradient(self, i):
        at = np.zeros((self.n, DIM))
        at[i] = self.clients[i].read
        return self.problem.gradient(at, self.steps[i])[i]

    def W(self, i):
        return self.network.remaining.mixing(self.steps[i]).dense()

    def travel(self, i, j, number, phase, bits, out=1, into=1):
        """Seconds of a message, those in which it leaves, and whether it is lost."""
        timing, wrong = self.network.timing, self.network.impairments
        ends = np.array([i]), np.array([j])
        ((latency,), (bandwidth,), (jitter,)) = timing.links.look_up(*ends)
        late = -np.log1p(-uniforms(timing.seed, "jitter", i, j, number, phase)) * jitter
        leaving = max(
            bits / bandwidth, out * bits / timing.uplink[i], into * bits / timing.downlink[j]
        )
        lost = bool(wrong.lost(self.network.seed, number, *ends)[0])
        return latency + late + leaving, leaving, lost

    def one_of(self, weights, purpose, i):
        """Whom client i draws, by weight."""
        sums = np.cumsum(weights)
        if sums[-1] == 0:
            return None
        u = uniforms(self.network.seed, purpose, i, self.steps[i])
        return int(np.searchsorted(sums, u * sums[-1], side="right"))

    def round(self):
        self.target += len(self.here)
        while self.total < self.target:
            self.post() if self.name in PUSH else self.meet()
        return np.array([s.x / s.w for s in self.clients])

    # Meetings

    def partner(self, i):
        row = self.W(i)[i].copy()
        row[i] = 0
        return self.one_of(row, "meet", i)

    def meet(self):
        """The next thing that happens: a meeting is over, or one begins."""
        busy = {i for _, i, j, both, _ in self.meetings} | {
            j for _, i, j, both, _ in self.meetings if both
        }
        over = [(time, -1.0, k) for k, (time, *_) in enumerate(self.meetings)]
        asks = []
        for i in set(self.here) - busy:
            s, j = self.clients[i], self.partner(i)
            when = max(self.now, s.ready, s.free, 0 if j is None else self.clients[j].free)
            asks.append((when, s.ready, i))
        time, ready, i = min(over + asks)
        self.now = time
        if ready < 0:
            _, i, j, both, good = self.meetings.pop(i)
            self.average(i, j, both, good)
            return
        j = self.partner(i)
        if j is None:
            self.average(i, None, False, False)
            return
        bits = 64 * MESSAGE.get(self.name, DIM)
        there, _, lost = self.travel(i, j, self.steps[i], 0, bits)
        back, _, lost_back = self.travel(j, i, self.steps[i], 1, bits)
        both = self.clients[j].ready <= time and self.partner(j) == i
        lasts = max(there, back)
        if lasts > 0:
            self.clients[i].free = self.clients[j].free = time + lasts
            self.meetings.append((time + lasts, i, j, both, not lost and not lost_back))
        else:
            self.average(i, j, both, not lost and not lost_back)

    def average(self, i, j, both, good):
        timing = self.network.timing
        unit = self.n / (1 / timing.compute.fixed).sum()
        active = [i, j] if both else [i]
        if self.name == "acid":
            p = chi(self.network)
        for k in {*active, *([j] if good else [])}:
            s = self.clients[k]
            g = self.gradient(k) if k in active else 0.0
            if self.name == "acid":
                acid_flow(s, p, (self.now - s.last) / unit)
                s.xt = s.xt - LR * g
            s.x, s.last = s.x - LR * g, self.now
        if good:
            a, b = self.clients[i], self.clients[j]
            one, other = a.x, b.x
            if self.name == "acid":
                acid_meet(a, other, p), acid_meet(b, one, p)
            else:
                a.x = b.x = (one + other) / 2
        for k in active:
            self.steps[k] += 1
            self.begin(k)
        self.total += len(active)

    # Messages

    def post(self):
        """All whose gradient is done next: they send, then they read."""
        what, keep, become = PUSH[self.name]
        self.now = min(self.clients[i].ready for i in self.here)
        now = [i for i in self.here if self.clients[i].ready == self.now]
        kept = {i: self.send(i, what.split()) for i in now}
        rows = {i: self.W(i)[i] for i in now}
        rooms = {i: 1 - rows[i][i] for i in now}
        for i in now:
            self.steps[i] += 1
        for i in now:
            s, came = self.clients[i], [m for m in self.mail if m[1] == i and m[0] <= self.now]
            self.mail = [m for m in self.mail if not (m[1] == i and m[0] <= self.now)]
            self.heard[i] = self.heard[i] or bool(came)
            if keep != "all":
                newest = self.held[i] if keep == "last" else {}
                for message in sorted(came, key=lambda m: m[3]):
                    if message[2] not in newest or newest[message[2]][3] < message[3]:
                        newest[message[2]] = message
                came = list(newest.values())
            if keep == "last":  # as far as they are neighbors in this round, with its weights
                row = rows[i]
                came = [(*m[:4], row[m[2]], m[5]) for m in came if row[m[2]] > 0]
            weight = sum(m[4] for m in came)
            scale = min(1.0, rooms[i] / weight) if keep != "all" and weight else 1.0
            become(s, [(m[4] * scale, m[5]) for m in came], kept[i])
            self.begin(i)
        self.total += len(now)

    def send(self, i, what):
        s, number = self.clients[i], self.steps[i]
        half_step(self.name, s, self.gradient(i))
        self.silent[i] += 1
        patience = PATIENCE if self.name == "async-sgp" else 1
        if self.line[i] > self.now or not (self.heard[i] or self.silent[i] >= patience):
            return 1.0
        W, bits = self.W(i), 64 * MESSAGE.get(self.name, DIM)
        W[np.arange(self.n), np.arange(self.n)] = 0
        to, into = [int(j) for j in np.flatnonzero(W[:, i])], (W > 0).sum(1)
        if self.name == "gossip-learning":
            one = self.one_of(W[:, i], "push", i)
            to, into = [] if one is None else [one], np.ones(self.n)
            W = np.full_like(W, 0.5)
        kept, busy = 1.0, 0.0
        for j in to:
            seconds, leaving, lost = self.travel(i, j, number, 0, bits, len(to), into[j])
            busy = max(busy, leaving)
            if not lost:
                content = tuple(np.copy(getattr(s, name)) for name in what)
                self.mail.append((self.now + seconds, j, i, number, W[j, i], content))
                kept -= W[j, i]
        if to:
            self.line[i] = self.now + busy
            self.heard[i], self.silent[i] = False, 0
        return kept


def chi(network):
    """1 / smallest eigenvalue of the Laplacian, and half of the largest resistance."""
    n, a, b, rates = meeting_rates(network)
    L = np.zeros((n, n))
    for i, j, rate in zip(a, b, rates, strict=True):
        L += rate * np.outer(np.eye(n)[i] - np.eye(n)[j], np.eye(n)[i] - np.eye(n)[j])
    values = np.linalg.eigvalsh(L)
    inverse = np.linalg.pinv(L, rcond=1e-9, hermitian=True)  # the mean of all is a zero
    resistance = [
        inverse[i, i] + inverse[j, j] - 2 * inverse[i, j] for i, j in zip(a, b, strict=True)
    ]
    return SimpleNamespace(chi1=1 / values[values > 1e-9].min(), chi2=max(resistance) / 2)


# The comparison


def network_of(topology, clock, wrong=None, columns=False):
    needs = ("column-stochastic",) if columns else ()
    schedule = build(topology, needs=needs)
    timing = Timing.of(made(ClockParams, clock, "network."), schedule.num_clients, (), SEED)
    wrong = made(Impairments, wrong or {}, "impairments.")
    return Network(schedule, seed=SEED, timing=timing, impairments=wrong, by_columns=columns)


def both_ways(name, topology, clock, wrong=None, blocks=None, changes=(), rounds=ROUNDS):
    """[rounds, clients, params] by waves, and by the plain simulation."""
    network = network_of(topology, clock, wrong, name == "async-sgp")
    n = network.num_clients
    problem, x0 = Quadratics.random(n, DIM), starts(n, DIM)
    more = {"patience": PATIENCE} if name == "async-sgp" else {}
    where = {"topology": network.base, "blocks": blocks}
    peers = at_start(name, problem.gradient, x0, **where, lr=LR, seed=SEED, **more)
    for block in peers:
        rewire(block, network)
        block.timeline = type(block.timeline)(block.routing, block.timeline.asks)
    plain, waves, one_by_one = Plain(name, problem, network, x0), [], []
    for done in range(1, rounds + 1):
        lockstep(peers, done)
        waves.append(np.concatenate([block.x for block in peers]))
        one_by_one.append(plain.round())
        for change in [change for at, change in changes if at == done]:
            network = change(network)
            plain.become(network)
            for block in peers:
                rewire(block, network)
    assert plain.now == peers[0].timeline.now
    assert plain.steps == peers[0].timeline.steps
    return np.array(waves), np.array(one_by_one)


def rewire(block, network):
    block.rewire(block.rule, WaveRouting(network, block.routing.bounds))


MEET, SEND = ("ad-psgd", "acid"), tuple(PUSH)
EQUAL = {"compute": 1.0}
VARIED = {"compute": {"seconds": 1.0, "varies": "exponential"}}
SLOW = {"compute": {"seconds": 1.0, "varies": "uniform", "stragglers": {"share": 0.2}}}
LINKS = {"latency": 0.3, "jitter": 0.2, "bandwidth": 2000}
LINES = {"links": LINKS, "uplink": 1500, "downlink": {"default": 4000, "1": 700}}
CLOCKS = {
    "equal": EQUAL,
    "varied": VARIED,
    "slow": SLOW | {"links": {"latency": 0.1}},
    "late": VARIED | LINES,
}
LOSSES = {"good": {}, "loss": {"loss": 0.3}, "bursts": {"loss": 0.3, "burst": 3, "by": "link"}}


# Bursts of losses once, where messages are late.
TROUBLES = [(c, "good") for c in CLOCKS] + [(c, "loss") for c in CLOCKS] + [("late", "bursts")]


@pytest.mark.parametrize(("clock", "losses"), TROUBLES)
@pytest.mark.parametrize("name", [*MEET, *SEND])
def test_waves_are_one_client_after_the_other(name, clock, losses):
    waves, plain = both_ways(name, "ring8", CLOCKS[clock], LOSSES[losses])
    np.testing.assert_allclose(waves, plain, rtol=1e-12, atol=1e-12)
    assert np.abs(np.diff(waves, axis=0)).max() > 1e-3


@pytest.mark.parametrize("blocks", [None, [5, 1, 20, 6]], ids=["one", "four"])
@pytest.mark.parametrize("name", [*MEET, *SEND])
def test_social_networks_too_on_any_actors(name, blocks):
    clock = SLOW | {"links": LINKS}
    waves, plain = both_ways(name, "social32", clock, {"loss": 0.1}, blocks, rounds=4)
    np.testing.assert_allclose(waves, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("topology", ["exponential8", "onepeer-exponential8", "random-matching8"])
@pytest.mark.parametrize("name", [*MEET, *SEND])
def test_directed_and_changing_networks_too(name, topology):
    if name in MEET and "exponential" in topology:
        pytest.skip("nobody meets on a directed network")
    waves, plain = both_ways(name, topology, CLOCKS["late"], {"loss": 0.2}, [3, 5])
    np.testing.assert_allclose(waves, plain, rtol=1e-12, atol=1e-12)


CHURN = [
    (3, lambda network: network.drop_clients([1, 5])),
    (5, lambda network: network.drop_links(["2-3"])),
    (7, lambda network: network.restore_clients([5])),
    (9, lambda network: dataclasses.replace(network, timing=network_of("ring8", SLOW).timing)),
]


def test_pairs_that_both_make_a_step_in_one_block_are_no_pairs_of_another():
    waves, plain = both_ways("ad-psgd", "ring8", EQUAL, {"loss": 0.3}, [4, 4], rounds=40)
    np.testing.assert_allclose(waves, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("clock", ["varied", "late"])
@pytest.mark.parametrize("name", [*MEET, *SEND])
def test_clients_come_and_go_in_the_middle_of_meetings_and_messages(name, clock):
    waves, plain = both_ways(name, "ring8", CLOCKS[clock], {}, [2, 6], CHURN)
    np.testing.assert_allclose(waves, plain, rtol=1e-12, atol=1e-12)


# What every such algorithm owes


def drawn(name):
    return name in MEET or name == "gossip-learning"


@pytest.mark.parametrize("check", UNIVERSAL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", [*MEET, *SEND])
def test_algorithm_keeps_the_rules_of_the_house(check, name):
    if check is check_permutation and drawn(name):
        pytest.skip("partners are drawn, and draws belong to a client's number")
    check(name)


@pytest.mark.parametrize(
    ("name", "together", "params"),
    [
        ("swift", "dsgd", {}),
        ("async-dsgdm-n", "dsgdm-n", {"beta": 0.8}),
        ("async-qg-dsgdm-n", "qg-dsgdm-n", {"beta": 0.8, "mu": 0.7}),
        ("async-sgp", "sgp", {"nesterov": False}),
    ],
)
@pytest.mark.parametrize("topology", ["ring8", "exponential8", "base8:k=2"])
def test_in_step_it_is_the_algorithm_with_rounds(name, together, params, topology):
    alone = run(name, topology=topology, **params)
    assert_same(alone, run(together, topology=topology, **params))


def test_in_step_on_matchings_ad_psgd_is_dsgd_with_one_message_each_way():
    assert_same(
        run("ad-psgd", topology="random-matching8"), run("dsgd", topology="random-matching8")
    )
    (alone,) = at_start("ad-psgd", no_gradient, starts(), topology="random-matching8", lr=0.1)
    (together,) = at_start("dsgd", no_gradient, starts(), topology="random-matching8", lr=0.1)
    lockstep([alone], 9)
    lockstep([together], 9)
    assert alone.bytes_sent == together.bytes_sent


def no_gradient(x, round):
    return 0 * x


def constant(x, round):
    """A gradient of its own for every client, wherever it is."""
    return np.ones_like(x) * np.arange(1, len(x) + 1)[:, None]


@pytest.mark.parametrize("clock", ["varied", "late"])
@pytest.mark.parametrize("name", MEET)
def test_meetings_keep_the_mean_and_gradients_alone_move_it(name, clock):
    (block,) = at_start(
        name, constant, starts(), topology="ring8", lr=0.1, staleness=CLOCKS[clock], seed=3
    )
    lockstep([block], 30)
    state = block.state
    models = (state.x + state.xt) / 2 if name == "acid" else state.x
    steps = np.array(block.timeline.steps)
    moved = -0.1 * (steps * np.arange(1, 9)).mean()
    assert_same(models.numpy().mean(0), starts().mean(0) + moved)
    assert len(set(steps)) > 1


@pytest.mark.parametrize("topology", ["ring8", "exponential8"])
def test_what_clients_and_messages_hold_together_changes_by_gradients_only(topology):
    (block,) = at_start(
        "async-sgp", no_gradient, starts(), topology=topology, lr=0.1, staleness=CLOCKS["late"]
    )
    lockstep([block], 30)
    z, w = block.state.z.numpy().sum(0), float(block.state.w.sum())
    letters = block.timeline.mail
    slots = block.mail.slots_of(letters.serial)
    for slot, weight in zip(slots, letters.weight, strict=True):
        z += weight * block.mail.rows[0][slot].numpy()
        w += weight * float(block.mail.rows[1][slot])
    assert len(slots)
    assert_same(z, starts().sum(0))
    assert_same(w, 8.0)


@pytest.mark.parametrize("name", [*MEET, *SEND])
def test_with_small_steps_the_mean_comes_to_the_optimum_if_all_are_equally_fast(name):
    problem = Quadratics.random(equal_curvature=True)
    path = trajectory(
        name,
        problem.gradient,
        starts(),
        topology="ring8",
        rounds=400,
        lr=lambda round: 0.05 / (1 + round / 100),
        staleness=VARIED | {"links": {"latency": 0.5}},
    )
    # How often each one has stepped by then is off by the root of that number, 5 %.
    off = np.abs(path[-1].mean(0) - problem.optimum()).max()
    assert off < 0.1 * np.abs(problem.b - problem.optimum()).max()


@pytest.mark.parametrize("name", [*MEET, *SEND])
def test_numbers_do_not_depend_on_how_many_rounds_are_cut_into_waves_together(name):
    def by(window, until):
        (block,) = at_start(
            name, Quadratics.random().gradient, starts(), topology="ring8", lr=0.05, seed=2
        )
        network = network_of("ring8", CLOCKS["late"], {"loss": 0.1}, name == "async-sgp")
        block.rewire(block.rule, WaveRouting(network, (0, 8), window))
        for done in until:
            lockstep([block], done)
        return block.x.numpy()

    np.testing.assert_array_equal(by(1, [12]), by(1, range(1, 13)))
    assert_same(by(5, [12]), by(1, [12]))


@pytest.mark.parametrize("name", ["ad-psgd", "async-dsgdm-n"])
def test_while_a_straggler_of_factor_ten_makes_a_step_the_others_make_ten(name):
    slow = {"compute": {"seconds": 1.0, "speeds": {"3": 0.1}}}
    (block,) = at_start(name, no_gradient, starts(), topology="ring8", lr=0.1, staleness=slow)
    lockstep([block], 89)  # 712 steps or some more: in 100 s seven make 100 and one makes 10
    steps = block.timeline.steps
    assert steps[3] == 10
    assert {steps[i] for i in range(8) if i != 3} <= {100, 101}


def test_who_is_slow_holds_up_nobody_but_all_who_wait_for_rounds():
    slow = {"compute": {"seconds": 1.0, "speeds": {"3": 0.1}}}
    timing = network_of("ring8", slow).timing
    W = build("ring8").mixing(0)
    assert timing.seconds(W, 0, 8.0) == 10.0  # of a round of those who wait
    (block,) = at_start("ad-psgd", no_gradient, starts(), topology="ring8", lr=0.1, staleness=slow)
    lockstep([block], 71)
    assert block.timeline.now == pytest.approx(568 / 7.1, rel=0.01)  # 7.1 steps a second


# How old the news is


def news(name, topology, seconds, until, latency=0.0):
    """(client, seconds on the clock, how far behind, seconds ago), of all news up to a time."""
    speeds = {str(i): 1 / s for i, s in enumerate(seconds)}
    clock = {"compute": {"seconds": 1.0, "speeds": speeds}, "links": {"latency": latency}}
    n = len(seconds)
    more = {"patience": 1} if name == "async-sgp" else {}  # it sends at every step
    (block,) = at_start(
        name, no_gradient, np.zeros(2), topology=topology, lr=0.1, staleness=clock, **more
    )
    routing = dataclasses.replace(block.routing, end=until)
    block.rewire(block.rule, routing)
    window = block.timeline.play(10 * n)
    begun = dict.fromkeys(range(n), 0.0)
    done = []
    for client, elapsed in zip(window.client, window.elapsed, strict=True):
        if name == "async-sgp":  # nothing happens to a client between its steps
            begun[client] += elapsed
        done.append((client, begun[client]))
    by = getattr(window, "read_by", range(len(done)))
    found = zip(by, window.behind, window.age, strict=True)
    return sorted((*done[step], behind, age) for step, behind, age in found)


def test_of_two_clients_that_meet_the_slow_ones_gradient_is_two_meetings_old():
    # One steps at 1, 2, 3 s and meets the other, who computes for 3 s; at 3 s they want each other.
    found = [
        (client, behind, age) for client, _, behind, age in news("ad-psgd", "complete2", [1, 3], 3)
    ]
    assert found == [(0, 0, 1.0), (0, 0, 1.0), (0, 0, 1.0), (1, 2, 3.0)]


def test_of_two_clients_that_send_the_slow_one_reads_what_was_sent_meanwhile():
    first = [(0, 3.0, 0, 0.0), (1, 3.0, 0, 0.0), (1, 3.0, 1, 1.0), (1, 3.0, 2, 2.0)]
    assert news("async-sgp", "complete2", [1, 3], 3) == first
    # With half a second on the way, what is sent at 3 s has not come by then.
    late = [(0, 4.0, 0, 1.0), (1, 3.0, 1, 1.0), (1, 3.0, 2, 2.0)]
    assert news("async-sgp", "complete2", [1, 3], 4, latency=0.5) == late


def test_of_three_clients_in_a_chain_each_hears_its_neighbors_only():
    found = news("async-sgp", "chain3", [1, 2, 4], 4)
    middle = [one for one in found if one[0] == 1]
    first_step = [(1, 2.0, 0, 0.0), (1, 2.0, 1, 1.0)]  # of the fast one: sent at 2 s and at 1 s
    second_step = [(1, 4.0, 0, 0.0), (1, 4.0, 0, 0.0), (1, 4.0, 1, 1.0)]  # and of the slow one
    assert middle == first_step + second_step
    assert [one for one in found if one[0] == 2] == [(2, 4.0, 0, 0.0), (2, 4.0, 1, 2.0)]


def test_messages_are_as_many_steps_old_as_they_are_said_to_be():
    (block,) = at_start(
        "async-dsgdm-n", no_gradient, starts(), topology="ring8", lr=0.1, staleness=2
    )
    window = block.timeline.play(9)
    assert set(window.behind) == {2}
    assert set(window.age) == {2.0}


# What cannot be


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"algorithm": "ad-psgd", "topology": "exponential8"},
            "ad-psgd needs an undirected network",
        ),
        (
            {"algorithm": "dsgd", "staleness": 1},
            "staleness is of algorithms whose clients do not wait",
        ),
        ({"algorithm": "ad-psgd", "staleness": -1}, "staleness must be steps >= 0"),
        ({"algorithm": "ad-psgd", "staleness": {"compute": 0}}, "must be > 0 for every client"),
        ({"algorithm": "ad-psgd", "staleness": {"link": 1}}, "staleness.link; did you mean links"),
        ({"algorithm": "swift", "every": 0}, "algorithm.every must be >= 1|every must be >= 1"),
        ({"algorithm": "acid", "chi1": 2.0}, "chi1 and chi2 go together"),
        ({"algorithm": "ad-psgd", "consensus": {"targets": [1.0]}}, "has no rounds in which all"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(wrong, told):
    settings = {"topology": "ring8", "rounds": 3, "lr": 0.1} | wrong
    name = settings.pop("algorithm")
    with pytest.raises(ConfigError, match=told) as error:
        trajectory(name, no_gradient, starts(), **settings)
    assert "\n" not in str(error.value)
