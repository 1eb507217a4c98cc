"""Clients that do not wait, played one at a time in NumPy: what waves of them are held against."""

from types import SimpleNamespace

import numpy as np

from p2pqg.base.seeding import uniforms
from p2pqg.engine.waves.routing import meeting_rates

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
