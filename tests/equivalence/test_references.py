"""Every algorithm against its equations in matrix form, written down plainly in NumPy.

X <- W X, clients as rows. Step sizes change in mid-run and weight decay is on. A reference is a
generator of the models after each round: reference(x, g, W, lr, **params), where g(x, t), W(t) and
lr(t) belong to round t. Where there is a choice it is written in another form than the algorithm.
"""

import copy
import itertools

import networkx as nx
import numpy as np
import pytest
import torch

from p2pqg.algorithms import ALGORITHMS
from p2pqg.testing import Quadratics, assert_same, dense, starts
from p2pqg.theory.trajectories import trajectory
from p2pqg.topology import build

ROUNDS, DECAY = 14, 1e-2


def lr(t):
    return 0.08 if t < 5 else 0.03


# the methods


def sgd(x, g, W, lr, beta=0.0, nesterov=False):
    m = 0
    for t in range(ROUNDS):
        mean = g(x, t).mean(0)
        m = beta * m + mean
        x = x - lr(t) * (mean + beta * m if nesterov else m)
        yield x


def dsgd(x, g, W, lr, beta=0.0, nesterov=False):
    m = 0
    for t in range(ROUNDS):
        m = beta * m + g(x, t)
        x = W(t) @ (x - lr(t) * (g(x, t) + beta * m if nesterov else m))
        yield x


def qg(x, g, W, lr, beta=0.9, mu=0.9, tau=1, nesterov=False):
    m, passed = np.zeros_like(x), []
    for t in range(ROUNDS):
        b = beta * m + g(x, t)
        u = g(x, t) + beta * b if nesterov else b
        new = W(t) @ (x - lr(t) * u)
        passed.append((x - new) / lr(t))
        if len(passed) == tau:
            m, passed = mu * m + (1 - mu) * sum(passed) / tau, []
        x = new
        yield x


def adam(x, g, W, lr, beta1=0.9, beta2=0.99, eps=1e-8, centralized=False):
    m = v = 0
    for t in range(ROUNDS):
        gt = g(x, t).mean(0) if centralized else g(x, t)
        m = beta1 * m + (1 - beta1) * gt
        v = beta2 * v + (1 - beta2) * gt**2
        c1, c2 = 1 - beta1 ** (t + 1), 1 - beta2 ** (t + 1)
        x = x - lr(t) / c1 * m / (np.sqrt(v) / np.sqrt(c2) + eps)
        x = x if centralized else W(t) @ x
        yield x


def qg_adam(x, g, W, lr, variant="paper", beta1=0.9, beta2=0.99, eps=1e-8):
    m = v = np.zeros_like(x)
    for t in range(ROUNDS):
        gt = g(x, t)
        if variant == "official-v1":
            gt = np.stack([row / (np.linalg.norm(row) + 1e-8) for row in gt])
        first = beta1 * m + gt * (1 if variant == "official" else 1 - beta1)
        second = beta2 * v + (1 - beta2) * gt**2
        c1, c2 = 1 - beta1 ** (t + 1), 1 - beta2 ** (t + 1)
        if variant == "paper":
            c1 = c2 = 1
        new = W(t) @ (x - lr(t) / c1 * first / (np.sqrt(second) / np.sqrt(c2) + eps))
        extra = 0 if variant == "paper" else 1e-8
        d = np.stack([row / (np.linalg.norm(row) + extra) for row in x - new])
        m = first if variant == "official-v2" else beta1 * m + (1 - beta1) * d
        v = beta2 * v + (1 - beta2) * d**2
        x = new
        yield x


def sync(x, g, W, lr, beta=0.9, nesterov=True, what="momentum", over="gossip"):
    m, J = 0, np.full((len(x), len(x)), 1 / len(x))
    for t in range(ROUNDS):
        S = W(t) if over == "gossip" else J
        gt = S @ g(x, t) if what == "gradient" else g(x, t)
        m = beta * m + gt
        x = W(t) @ (x - lr(t) * (gt + beta * m if nesterov else m))
        m = S @ m if what == "momentum" else m
        yield x


def slowmo(
    x, g, W, lr, beta=0.9, nesterov=True, tau=12, slow_beta=0.7, slow_alpha=1.0, average=True
):
    m, u, anchor = 0, 0, x
    for t in range(ROUNDS):
        m = beta * m + g(x, t)
        x = W(t) @ (x - lr(t) * (g(x, t) + beta * m if nesterov else m))
        if (t + 1) % tau == 0:
            came = x.mean(0) if average else x
            u = slow_beta * u + (anchor - came) / lr(t)
            anchor = anchor - slow_alpha * lr(t) * u
            x = anchor
        yield x


def dmsgd(x, g, W, lr, beta=0.9, mu=0.5):
    last = x
    for t in range(ROUNDS):
        momentum = mu * W(t) @ (x - last) + (1 - mu) * (x - last)
        x, last = W(t) @ x - lr(t) * g(x, t) + beta * momentum, x
        yield x


def lazily(W, lazy):
    return (lambda t: (W(t) + np.eye(len(W(t)))) / 2) if lazy else W


def d2(x, g, W, lr, lazy=False):
    W = lazily(W, lazy)
    last, g_last = x, g(x, 0)
    x = W(0) @ (x - lr(0) * g_last)
    yield x
    for t in range(1, ROUNDS):
        gt = g(x, t)
        x, last, g_last = W(t) @ (2 * x - last - lr(t) * (gt - g_last)), x, gt
        yield x


def d2_plus(x, g, W, lr, lazy=False):
    W = lazily(W, lazy)
    c = 0  # correction form
    for t in range(ROUNDS):
        gt, s = g(x, t), lr(t) / lr(max(t - 1, 0))
        new = W(t) @ (x - lr(t) * gt + s * c)
        x, c = new, new - x + lr(t) * gt
        yield x


def tracking(x, g, W, lr, beta=0.0, nesterov=False):
    gt = y = g(x, 0)
    m = 0
    for t in range(ROUNDS):
        m = beta * m + y
        x = W(t) @ x - lr(t) * (y + beta * m if nesterov else m)
        y, gt = W(t) @ y + g(x, t + 1) - gt, g(x, t + 1)
        yield x


def tracking_atc(x, g, W, lr, beta=0.0, nesterov=False):
    m = c = 0
    for t in range(ROUNDS):
        m = beta * m + g(x, t)
        u = -lr(t) * (g(x, t) + beta * m if nesterov else m)
        x = W(t) @ (x + u + c)
        c = W(t) @ (c + u) - u
        yield x


def decentlam(x, g, W, lr, beta=0.9):
    m = 0
    for t in range(ROUNDS):
        m = beta * m + (x - W(t) @ (x - lr(t) * g(x, t))) / lr(t)
        x = x - lr(t) * m
        yield x


def momentum_tracking(x, g, W, lr, beta=0.9, form="cta", init="zero"):
    u = c = np.zeros_like(x)
    if init == "allreduce":
        u = c = (g(x, 0) - g(x, 0).mean(0)) / (1 - beta)
    for t in range(ROUNDS):
        u = beta * u + g(x, t)
        step = lr(t) * (u - c)
        x = W(t) @ x - step if form == "cta" else W(t) @ (x - step)
        c = W(t) @ (c - u) + u
        yield x


def edm(x, g, W, lr, beta=0.9, lazy=False):
    W = lazily(W, lazy)
    M = g(x, 0)
    last, x = x, W(0) @ (x - lr(0) * M)
    yield x
    for t in range(1, ROUNDS):
        M_last, M = M, beta * M + g(x, t)
        last, x = x, W(t) @ (2 * x - last - lr(t) * M + lr(t - 1) * M_last)
        yield x


def relay(x, g, W, lr, beta=0.9, nesterov=True, relay="model", fill="initial"):
    models, m = relay == "model", 0
    mean_of = relay_sum(W(0), first=x if models else 0 * x, fill=fill)
    for t in range(ROUNDS):
        m = beta * m + g(x, t)
        step = -lr(t) * (g(x, t) + beta * m if nesterov else m)
        x = mean_of(x + step) if models else x + mean_of(step)
        yield x


def relay_sum(W, first, fill):
    """What clients have -> each one's mean of what it knows by now: a function that remembers."""
    n = len(W)
    neighbors = [[j for j in range(n) if j != i and W[i, j] > 0] for i in range(n)]
    heard = {(k, i): (0, 0) for i in range(n) for k in neighbors[i]}  # sender, receiver

    def known(own, i, but=None):
        """Sum and count of client i's own and of all that it heard, but from one neighbor."""
        words = [heard[k, i] for k in neighbors[i] if k != but]
        return own[i] + sum(M for M, _ in words), 1 + sum(C for _, C in words)

    def mean(own, i):
        total, count = known(own, i)
        if fill == "count":
            return total / count
        return (total + (n - count) * (own if fill == "own" else first)[i]) / n

    def next_round(own):
        nonlocal heard
        heard = {(i, j): known(own, i, but=j) for i, j in heard}
        return np.stack([mean(own, i) for i in range(n)])

    return next_round


def sgp(x, g, W, lr, beta=0.9, nesterov=True):
    z, w, m = x, np.ones(len(x)), 0
    for t in range(ROUNDS):
        gt = g(z / w[:, None], t)
        m = beta * m + gt
        z, w = W(t) @ (z - lr(t) * (gt + beta * m if nesterov else m)), W(t) @ w
        yield z / w[:, None]


def largest(v, ratio):
    q = np.zeros_like(v)
    for row, out in zip(v, q, strict=True):
        keep = np.argsort(-np.abs(row))[: max(1, round(ratio * len(row)))]
        out[keep] = row[keep]
    return q


def scaled_sign(v, ratio):
    return np.abs(v).mean(1, keepdims=True) * np.sign(v)


def choco(x, g, W, lr, beta=0.0, gamma=0.5, compressor="top-k", ratio=0.1, order="code"):
    Q = {"top-k": largest, "sign": scaled_sign, "identity": lambda v, ratio: v}[compressor]
    m, hat = 0, np.zeros_like(x)
    for t in range(ROUNDS):
        m = beta * m + g(x, t)
        x = x - lr(t) * m
        if order == "code":
            x = x + gamma * (W(t) @ hat - hat)
        hat = hat + Q(x - hat, ratio)
        if order == "paper":
            x = x + gamma * (W(t) @ hat - hat)
        yield x


def beer(x, g, W, lr, gamma=0.3, compressor="top-k", ratio=0.1):
    Q = {"top-k": largest, "sign": scaled_sign, "identity": lambda v, ratio: v}[compressor]
    last, V, G, eye = x, g(x, 0), np.zeros_like(x), np.eye(len(x))
    x = x - lr(0) * V
    H = Q(x, ratio)
    yield x
    for t in range(1, ROUNDS):
        V = V + gamma * (W(t) - eye) @ G + g(x, t) - g(last, t)
        G = G + Q(V - G, ratio)
        x, last = x + gamma * (W(t) - eye) @ H - lr(t) * V, x
        H = H + Q(x - H, ratio)
        yield x


def hybrid_tracking(x, g, W, lr, beta=0.1):
    """By the estimate before it is mixed, and by what v is wrong by."""
    z, before, wrong, last = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x), x
    for t in range(ROUNDS):
        if t:
            wrong = (1 - beta) * (wrong + g(last, t - 1) - g(last, t))
        v = g(x, t) + wrong
        z, before = (W(t - 1) @ z if t else z) + v - before, v
        x, last = W(t) @ (x - lr(t) * W(t) @ z), x
        yield x


def ef21(x, g, W, lr, beta=0.0, compressor="top-k", ratio=0.1):
    Q = {"top-k": largest, "sign": scaled_sign, "identity": lambda v, ratio: v}[compressor]
    v = g(x, 0)
    h = Q(v, ratio)
    for t in range(ROUNDS):
        x = x - lr(t) * h.mean(0)
        v = beta * v + (1 - beta) * g(x, t + 1)
        h = h + Q(v - h, ratio)
        yield x


def fedavg(x, g, W, lr, local_steps=5, beta=0.9, rho=0.0, gossips=1):
    for t in range(ROUNDS):
        path = [x, x]  # heavy ball by its last two points, as the papers write it
        for _ in range(local_steps):
            now, last = path[-1], path[-2]
            up = g(now, t)
            up = rho * up / np.linalg.norm(up, axis=1, keepdims=True)
            path.append(now - lr(t) * g(now + up, t) + beta * (now - last))
        x = np.linalg.matrix_power(W(t), gossips) @ path[-1]
        yield x


def k_gt(x, g, W, lr, local_steps=5, outer_lr=1.0, init="zero"):
    c = g(x, 0).mean(0) - g(x, 0) if init == "allreduce" else 0
    for t in range(ROUNDS):
        y = x
        for _ in range(local_steps):
            y = y - lr(t) * (g(y, t) + c)
        z = (x - y) / (local_steps * lr(t))
        c = c - z + W(t) @ z
        x = W(t) @ (x - local_steps * outer_lr * lr(t) * z)
        yield x


def led(x, g, W, lr, local_steps=5, beta=None, lazy=False):
    W, y = lazily(W, lazy), 0
    for t in range(ROUNDS):
        half = x
        for _ in range(local_steps):
            half = half - lr(t) * g(half, t) - (beta or 1 / local_steps) * y
        x = W(t) @ half
        y = y + half - x
        yield x


def inner_steps(x, g, t, lr, state, inner, local_steps, beta1=0.9, beta2=0.999, eps=1e-8):
    """Plain SGD, or Adam by torch."""
    if inner == "sgd":
        for _ in range(local_steps):
            x = x - lr(t) * g(x, t)
        return x, None
    model = torch.from_numpy(x.copy()).requires_grad_()
    adam = torch.optim.Adam([model], lr=lr(t), betas=(beta1, beta2), eps=eps)
    if state is not None:
        adam.load_state_dict(state)
        adam.param_groups[0]["lr"] = lr(t)
    for _ in range(local_steps):
        model.grad = torch.from_numpy(g(model.detach().numpy(), t))
        adam.step()
    return model.detach().numpy(), copy.deepcopy(adam.state_dict())


def diloco(x, g, W, lr, local_steps=50, inner="adam", outer_lr=0.7, outer_beta=0.9):
    outer = torch.from_numpy(x.copy()).requires_grad_()
    step = torch.optim.SGD([outer], lr=outer_lr, momentum=outer_beta, nesterov=True)
    state = None
    for t in range(ROUNDS):
        x = outer.detach().numpy().copy()
        y, state = inner_steps(x, g, t, lr, state, inner, local_steps)
        outer.grad = torch.from_numpy(np.broadcast_to((x - y).mean(0), x.shape).copy())
        step.step()
        yield outer.detach().numpy().copy()


def noloco(x, g, W, lr, local_steps=50, inner="adam", outer_lr=0.7, outer_beta=0.9, gamma=0.7):
    m, state = 0, None
    for t in range(ROUNDS):
        y, state = inner_steps(x, g, t, lr, state, inner, local_steps)
        m = outer_beta * m + outer_lr * W(t) @ (y - x) + gamma * (W(t) @ x - x)
        x = x + m
        yield x


def gut(x, g, W, lr, mu=0.9, beta=0.0, nesterov=False, lazy=False):
    W = lazily(W, lazy)
    b = 1 + beta + (beta**2 if nesterov else 0)
    mixed = mixed_last = x
    u = u_last = delta_last = m = 0
    for t in range(ROUNDS):
        lr_last = lr(max(t - 1, 0))
        delta = g(mixed, t) - u / lr_last
        bias = (mixed - mixed_last + b * u_last) / lr_last
        y = delta - mu * (delta_last + bias)
        m = beta * m + y
        x = x - lr(t) * (y + beta * m if nesterov else m)
        mixed, mixed_last = W(t) @ x, mixed
        u, u_last, delta_last = mixed - x, u, delta
        yield mixed


def extra(x, g, W, lr):
    half = lazily(W, True)
    step, last = lr(0) * g(x, 0), x
    x = W(0) @ x - step
    yield x
    for t in range(1, ROUNDS):
        step, before = lr(t) * g(x, t), step
        x, last = x + W(t) @ x - half(t) @ last - step + before, x
        yield x


def nids(x, g, W, lr):
    W = lazily(W, True)
    step, last = lr(0) * g(x, 0), x
    x = x - step
    yield x
    for t in range(1, ROUNDS):
        step, before = lr(t) * g(x, t), step
        x, last = W(t) @ (2 * x - last - step + before), x
        yield x


def dsmt(x, g, W, lr, gap=None, beta=0.9, eta=0.0, lazy=True):
    W = lazily(W, lazy)
    if gap is not None:
        second = np.sqrt(1 - (1 - gap / 2) ** 2)
        eta = (1 + (1 - second) / (1 + second)) / 2
        beta = np.sqrt(eta)
    z = y = y_low = (1 - beta) * g(x, 0)
    x_low = x
    for t in range(ROUNDS):
        now, low = x - lr(t) * y, x_low - lr(t) * y
        x, x_low = (1 + eta) * W(t) @ now - eta * low, now
        yield x
        if t < ROUNDS - 1:  # the tracking that follows belongs to the next round
            dz = (1 - beta) * (g(x, t + 1) - z)
            z, now, low = z + dz, y + dz, y_low + dz
            y, y_low = (1 + eta) * W(t + 1) @ now - eta * low, now


def powergossip_of_vectors(x, g, W, lr, beta=0.0):
    """What is no matrix is sent whole; matrices: test_powergossip.py."""
    m = 0
    for t in range(ROUNDS):
        m = beta * m + g(x, t)
        x = (W(t) @ x if t else x) - lr(t) * m
        yield x


def ceca(x, g, W, lr):
    """On ceca8, with the numbers of clients; other numbers and pairs: test_ceca.py."""
    v, k = x, 0
    for t in range(ROUNDS):
        digit = (7 >> (2 - t % 3)) & 1
        k = 0 if t % 3 == 0 else k
        step = lr(t) * g(x if digit else v, t)
        x, v = x - step, v - step
        heard = np.roll(x if digit else v, k + digit, axis=0)
        if digit:
            x, v = (x + heard) / 2, (k * v + (k + 1) * heard) / (2 * k + 1)
        else:
            x, v = ((k + 1) * x + k * heard) / (2 * k + 1), (v + heard) / 2
        k = 2 * k + digit
        yield x


def teleportation(x, g, W, lr):
    """Who hears of others is active; slot by slot: test_teleportation.py."""
    for t in range(ROUNDS):
        active = (np.eye(len(x)) != W(t)).any(1, keepdims=True)
        x = W(t) @ x
        x = x - active * lr(t) * g(x, t)
        yield x


def muffliato(x, g, W, lr, gossips=5, gap=None):
    """The gossips of a round as one matrix, P_k+1 = omega W P_k + (1 - omega) P_k-1."""
    omega = 1 if gap is None else 2 * (1 - np.sqrt(gap - gap**2 / 4)) / (1 - gap / 2) ** 2
    for t in range(ROUNDS):
        before = P = np.eye(len(x))
        for _ in range(gossips):
            before, P = P, omega * W(t) @ P + (1 - omega) * before
        x = P @ (x - lr(t) * g(x, t))
        yield x


def ngc(x, g, W, lr, beta=0.9, alpha=1.0):
    """Pair by pair; g(x, t)[i] is that of client i at row i, so others' models are put there."""
    m = 0
    for t in range(ROUNDS):
        at = [g(np.tile(x[j], (8, 1)), t) for j in range(8)]  # model j on the data of all
        mixed, own = W(t) @ x, g(W(t) @ x, t)
        n = np.zeros_like(x)
        for i in range(8):
            n[i] = W(t)[i, i] * own[i]
            for j in set(range(8)) - {i}:
                cross = (1 - alpha) * at[j][i] + alpha * at[i][j]
                n[i] += W(t)[i, j] * cross
        m = beta * m + n
        x = mixed - lr(t) * (n + beta * m)
        yield x


def cga(x, g, W, lr, beta=0.9, nesterov=True, margin=0.5):
    """The quadratic program by trying which cross-gradients count more than `margin`."""
    m = 0
    for t in range(ROUNDS):
        at = [g(np.tile(x[i], (8, 1)), t) for i in range(8)]  # model i on the data of all
        z = np.zeros_like(x)
        for i in range(8):
            A = np.stack([W(t)[i, j] * at[i][j] for j in range(8) if j != i and W(t)[i, j] > 0])
            least = W(t)[i, i] * at[i][i] + margin * A.sum(0)
            tried = []
            for free in itertools.product((False, True), repeat=len(A)):
                counted = A[list(free)]
                more = np.linalg.lstsq(counted.T, -least, rcond=None)[0]
                if (more >= 0).all():
                    tried.append(least + more @ counted)
            z[i] = min(tried, key=np.linalg.norm)
        m = beta * m + z
        x = W(t) @ x - lr(t) * (z + beta * m if nesterov else m)
        yield x


# the networks


def irregular():
    """Metropolis-Hastings on a graph of degrees 1 to 5, kept at its smallest eigenvalue > -1/3."""
    graph = nx.Graph([(0, i) for i in (1, 2, 3, 4, 5)] + [(1, 2), (3, 6), (4, 6), (6, 7), (2, 5)])
    degree = dict(graph.degree)
    W = np.zeros((8, 8))
    for i, j in graph.edges:
        W[i, j] = W[j, i] = 1 / (1 + max(degree[i], degree[j]))
    return W + np.diag(1 - W.sum(1))


def directed():
    """Doubly stochastic, not symmetric."""
    return sum(
        weight * np.roll(np.eye(8), hop, axis=0) for weight, hop in [(0.5, 0), (0.3, 1), (0.2, 3)]
    )


def changing():
    return np.stack([directed(), irregular(), np.roll(np.eye(8), 1, 0) / 2 + np.eye(8) / 2])


def plain_averaging():
    """Rows sum to 1, columns do not: everyone takes the mean of what it hears."""
    W = irregular() > 0
    return build(W / W.sum(1, keepdims=True), allow_row_stochastic=True)


def push():
    """Columns sum to 1, rows do not: each client splits evenly over 1 to 3 receivers and itself."""
    W = np.eye(8) + np.roll(np.eye(8), 1, axis=0)
    W[[3, 5, 6], [0, 0, 2]] = 1
    return build(W / W.sum(0), needs=("column-stochastic",))


ANY = {"ring": "ring8", "irregular": irregular(), "directed": directed(), "changing": changing()}
ROWS = ANY | {"rows": plain_averaging()}
STATIC = {name: ANY[name] for name in ("ring", "irregular", "directed")}
SYMMETRIC = {name: ANY[name] for name in ("ring", "irregular")}
TREES = {"chain": "chain8", "star": "star8", "tree": "binary-tree8"}
PUSH = ANY | {"push": push()}

CASES = [
    ("sgd", {}, sgd, {}, STATIC),
    ("sgdm", {"beta": 0.8}, sgd, {}, STATIC),
    ("sgdm-n", {"beta": 0.8}, sgd, {"nesterov": True}, STATIC),
    ("dsgd", {}, dsgd, {}, ROWS),
    ("dsgdm", {"beta": 0.8}, dsgd, {}, ROWS),
    ("dsgdm-n", {"beta": 0.8}, dsgd, {"nesterov": True}, ROWS),
    ("qg-dsgdm", {}, qg, {}, ROWS),
    ("qg-dsgdm", {"beta": 0.7, "mu": 0.5, "tau": 4}, qg, {}, ROWS),
    ("qg-dsgdm-n", {}, qg, {"nesterov": True}, ROWS),
    ("qg-dsgdm-n", {"beta": 0.7, "mu": 0.5, "tau": 3}, qg, {"nesterov": True}, ROWS),
    ("adam", {}, adam, {"centralized": True}, STATIC),
    ("dadam", {"beta1": 0.8, "beta2": 0.95, "eps": 1e-3}, adam, {}, ROWS),
    ("dadam", {}, adam, {}, ROWS),
    *(
        ("qg-dadam", {"variant": variant}, qg_adam, {}, ROWS)
        for variant in ("paper", "official", "official-v1", "official-v2")
    ),
    *(
        ("dsgdm-sync", {"what": what, "over": over, "nesterov": nesterov}, sync, {}, ROWS)
        for what in ("momentum", "gradient")
        for over in ("gossip", "allreduce")
        for nesterov in (True, False)
    ),
    ("slowmo", {}, slowmo, {}, ROWS),
    ("slowmo", {"tau": 4, "slow_alpha": 0.8, "nesterov": False}, slowmo, {}, ROWS),
    ("slowmo", {"tau": 3, "average": False}, slowmo, {}, ROWS),
    ("dmsgd", {}, dmsgd, {}, STATIC),
    ("dmsgd", {"beta": 0.6, "mu": 0.2}, dmsgd, {}, STATIC),
    ("d2", {}, d2, {}, SYMMETRIC),
    ("d2", {"lazy": True}, d2, {}, SYMMETRIC),
    ("d2-plus", {}, d2_plus, {}, SYMMETRIC),
    ("d2-plus", {"lazy": True}, d2_plus, {}, SYMMETRIC),
    ("dsgd-gt", {}, tracking, {}, ANY),
    ("dsgdm-gt", {}, tracking, {"beta": 0.9}, ANY),
    ("dsgdm-n-gt", {}, tracking, {"beta": 0.9, "nesterov": True}, ANY),
    ("dsgd-gt", {"form": "atc"}, tracking_atc, {"form": None}, ANY),
    ("dsgdm-gt", {"form": "atc"}, tracking_atc, {"form": None, "beta": 0.9}, ANY),
    (
        "dsgdm-n-gt",
        {"form": "atc", "beta": 0.7},
        tracking_atc,
        {"form": None, "nesterov": True},
        ANY,
    ),
    ("decentlam", {}, decentlam, {}, ROWS),
    *(
        ("momentum-tracking", {"form": form, "init": init}, momentum_tracking, {}, ANY)
        for form in ("cta", "atc")
        for init in ("zero", "allreduce")
    ),
    ("edm", {}, edm, {}, SYMMETRIC),
    ("edm", {"beta": 0.7, "lazy": True}, edm, {}, SYMMETRIC),
    *(
        ("relay-sgd", {"relay": what, "fill": fill}, relay, {}, TREES)
        for what in ("model", "update")
        for fill in ("initial", "own", "count")
    ),
    ("relay-sgd", {"beta": 0.5, "nesterov": False}, relay, {}, TREES),
    ("sgp", {}, sgp, {}, PUSH),
    ("sgp", {"beta": 0.5, "nesterov": False}, sgp, {}, PUSH),
    *(
        ("choco-sgd", {"compressor": compressor, "ratio": 0.4, "order": order}, choco, {}, STATIC)
        for compressor in ("top-k", "sign", "identity")
        for order in ("code", "paper")
    ),
    ("choco-sgd", {"beta": 0.9, "gamma": 0.3}, choco, {}, STATIC),
    ("beer", {}, beer, {}, STATIC),
    *(
        ("beer", {"compressor": compressor, "ratio": 0.4, "gamma": 0.6}, beer, {}, STATIC)
        for compressor in ("top-k", "sign", "identity")
    ),
    ("gt-hsgd", {}, hybrid_tracking, {}, ANY),
    ("gt-hsgd", {"beta": 0.6}, hybrid_tracking, {}, ANY),
    ("ef21", {}, ef21, {}, STATIC),
    ("ef21", {"beta": 0.9, "compressor": "sign"}, ef21, {}, STATIC),
    ("dfedavgm", {}, fedavg, {}, ROWS),
    ("dfedavgm", {"local_steps": 3, "beta": 0.6}, fedavg, {}, ROWS),
    ("dfedsam", {"rho": 0.5}, fedavg, {"beta": 0.0}, ROWS),
    ("dfedsam", {"rho": 0.3, "beta": 0.8, "gossips": 3, "local_steps": 2}, fedavg, {}, ROWS),
    ("k-gt", {}, k_gt, {}, ANY),
    ("k-gt", {"local_steps": 3, "outer_lr": 0.5, "init": "allreduce"}, k_gt, {}, ANY),
    ("led", {}, led, {}, SYMMETRIC),
    ("led", {"local_steps": 3, "beta": 0.2, "lazy": True}, led, {}, SYMMETRIC),
    ("gut", {}, gut, {}, SYMMETRIC),
    ("gut", {"mu": 0.4, "lazy": True}, gut, {}, SYMMETRIC),
    ("qg-gutm", {}, gut, {"mu": 0.06, "beta": 0.9}, SYMMETRIC),
    ("qg-gutm", {"mu": 0.3, "beta": 0.6, "nesterov": True}, gut, {}, SYMMETRIC),
    ("extra", {}, extra, {}, SYMMETRIC),
    ("nids", {}, nids, {}, SYMMETRIC),
    ("dsmt", {}, dsmt, {}, SYMMETRIC),
    ("dsmt", {"gap": 0.2}, dsmt, {}, SYMMETRIC),
    ("dsmt", {"beta": 0.5, "eta": 0.3, "lazy": False}, dsmt, {}, SYMMETRIC),
    ("powergossip", {}, powergossip_of_vectors, {}, SYMMETRIC),
    ("powergossip", {"beta": 0.8}, powergossip_of_vectors, {}, SYMMETRIC),
    ("dsgd-ceca", {}, ceca, {}, {"ceca": "ceca8"}),
    ("teleportation", {}, teleportation, {}, {"teleportation": "teleportation8:k=3"}),
    ("muffliato", {}, muffliato, {}, SYMMETRIC),
    ("muffliato", {"gossips": 3, "gap": 0.2}, muffliato, {}, SYMMETRIC),
    ("ngc", {}, ngc, {}, SYMMETRIC),
    ("ngc", {"alpha": 0.3, "beta": 0.5}, ngc, {}, SYMMETRIC),
    ("ngc", {"alpha": 0.0}, ngc, {}, SYMMETRIC),
    ("cga", {}, cga, {}, SYMMETRIC),
    ("cga", {"margin": 0.0, "beta": 0.5, "nesterov": False}, cga, {}, SYMMETRIC),
    ("diloco", {"local_steps": 4}, diloco, {}, STATIC),
    ("diloco", {"local_steps": 3, "inner": "sgd", "outer_beta": 0.5}, diloco, {}, STATIC),
    ("noloco", {"local_steps": 4}, noloco, {}, ROWS),
    ("noloco", {"local_steps": 3, "inner": "sgd", "gamma": 0.3}, noloco, {}, ROWS),
]


def name_of(case):
    name, params, _, _, networks, network = case
    return "-".join([name, *map(str, params.values()), network])


@pytest.mark.parametrize(
    "case", [(*case, network) for case in CASES for network in case[4]], ids=name_of
)
def test_algorithm_follows_its_equations(case):
    name, params, reference, also, networks, network = case
    problem, x0, schedule = Quadratics.random(), starts(), build(networks[network])
    expected = reference(
        x0,
        lambda x, t: problem.gradient(x, t) + DECAY * x,
        lambda t: dense(schedule, t),
        lr,
        **{key: value for key, value in (params | also).items() if value is not None},
    )
    got = trajectory(
        name,
        problem.gradient,
        x0,
        topology=schedule,
        rounds=ROUNDS,
        lr=lr,
        weight_decay=DECAY,
        **params,
    )
    assert_same(got, np.stack([x0, *expected]))


def test_every_algorithm_has_a_reference():
    ours = {n: e for n, e in ALGORITHMS.items() if e.build.__module__.startswith("p2pqg.")}
    alone = {name for name, entry in ours.items() if entry.traits["asynchronous"]}
    assert {name for name, *_ in CASES} == set(ours) - alone  # see test_asynchronous.py
