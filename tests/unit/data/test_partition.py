"""Partitions: disjoint, as skewed as they say, and qg-dirichlet as the official code draws it."""

import numpy as np
import pytest

from p2pqg.base.errors import ConfigError, DataError
from p2pqg.data import PARTITIONS, label_counts, label_skew, partition

LABELS = np.random.default_rng(0).permutation(np.arange(2000) % 10)
CIFAR_LIKE = np.repeat(np.arange(10), 5000)
EXHAUSTIVE = {"iid", "dirichlet", "shards", "quantity"}
EQUAL = {"qg-dirichlet", "per-client-dirichlet"}


@pytest.mark.parametrize("name", sorted(PARTITIONS))
def test_shares_are_disjoint_nonempty_and_lose_only_the_remainder(name):
    parts = partition(name, LABELS, clients=13, alpha=0.5, seed=1)
    together = np.concatenate(parts)
    assert len(parts) == 13
    assert all(part.dtype == np.int64 and len(part) for part in parts)
    assert len(np.unique(together)) == len(together)
    if name in EXHAUSTIVE:
        assert len(together) == len(LABELS)
    if name in EQUAL:
        assert {len(part) for part in parts} == {len(LABELS) // 13}


@pytest.mark.parametrize("name", sorted(PARTITIONS))
def test_the_seed_decides_everything(name):
    first, again, other = (partition(name, LABELS, 6, alpha=1.0, seed=seed) for seed in (3, 3, 4))
    for part, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(part, same)
    assert not np.array_equal(np.concatenate(first), np.concatenate(other))


@pytest.mark.parametrize("name", sorted(PARTITIONS))
def test_a_single_client_holds_everything(name):
    (part,) = partition(name, LABELS, clients=1, alpha=0.1)
    np.testing.assert_array_equal(np.sort(part), np.arange(len(LABELS)))


@pytest.mark.parametrize("name", ["dirichlet", "qg-dirichlet", "per-client-dirichlet"])
def test_a_huge_alpha_makes_all_clients_alike(name):
    counts = label_counts(partition(name, CIFAR_LIKE, clients=10, alpha=1e9), CIFAR_LIKE, 10)
    # A sampled mix of 5,000 is off by sqrt(0.09 / 5000) = 0.004 per class, about 0.017 in all.
    assert label_skew(counts)["total_variation"] < 0.03


@pytest.mark.parametrize("name", ["qg-dirichlet", "per-client-dirichlet"])
def test_a_small_alpha_is_more_skewed_than_a_large_one(name):
    skews = [
        label_skew(label_counts(partition(name, LABELS, 10, alpha=alpha), LABELS, 10))
        for alpha in (0.1, 1.0, 10.0)
    ]
    assert [s["total_variation"] for s in skews] == sorted(
        (s["total_variation"] for s in skews), reverse=True
    )


# ---- the skew at the ends: 10 classes of 100 samples


def largest_share(name, clients, alpha, seeds=20):
    """Mean over seeds and clients of the share of a client's most frequent class."""
    labels = np.repeat(np.arange(10), 100)
    counts = [
        label_counts(partition(name, labels, clients, alpha, seed), labels, 10)
        for seed in range(seeds)
    ]
    return np.mean([label_skew(own)["largest_class_share"] for own in counts])


def test_per_client_dirichlet_gets_only_more_skewed_as_alpha_falls():
    alphas = [1e9, 10, 1, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4, 1e-6, 1e-20, 1e-100, 1e-310, 5e-324]
    shares = [largest_share("per-client-dirichlet", 10, alpha) for alpha in alphas]
    assert shares == sorted(shares)
    # What Dirichlet shares kept as logarithms, which cannot underflow, come to: 0.914 at 0.1, 0.971
    # at 0.03 and 0.990 at 0.01 (over 2,000 seeds), with deviations of 0.017, 0.012 and 0.006 of 20.
    for alpha, share in ((0.1, 0.914), (0.03, 0.971), (0.01, 0.990)):
        assert shares[alphas.index(alpha)] == pytest.approx(share, abs=0.02)
    # In the limit a client of 100 samples takes a class of 100 samples, whole.
    assert set(shares[alphas.index(1e-6) :]) == {1.0}


@pytest.mark.parametrize(("name", "clients"), [("dirichlet", 3), ("quantity", 10)])
def test_the_smallest_alphas_draw_the_limit(name, clients):
    limit = [part.tolist() for part in partition(name, LABELS, clients, alpha=1e-50)]
    for alpha in (1e-100, 1e-300, 5e-324):
        assert [p.tolist() for p in partition(name, LABELS, clients, alpha=alpha)] == limit


def test_qg_dirichlet_gets_only_more_skewed_as_alpha_falls_and_refuses_where_it_cannot_draw():
    alphas = [1e9, 1, 0.1, 0.03, 0.01, 3e-3, 1e-3]
    shares = [largest_share("qg-dirichlet", 10, alpha, seeds=5) for alpha in alphas]
    assert shares == sorted(shares)
    assert shares[-1] > 0.98
    with pytest.raises(DataError, match="use a larger alpha"):
        largest_share("qg-dirichlet", 10, 1e-6)


def test_iid_sizes_differ_by_at_most_one():
    sizes = [len(part) for part in partition("iid", LABELS, clients=13)]
    assert max(sizes) - min(sizes) == 1


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_shards_give_each_client_at_most_that_many_classes_when_shards_fit_classes(shards):
    # 10 clients x s shards divide each class of 200 into s whole shards.
    parts = partition("shards", LABELS, clients=10, shards_per_client=shards)
    counts = label_counts(parts, LABELS, 10)
    assert ((counts > 0).sum(axis=1) <= shards).all()
    assert (counts.sum(axis=1) == 200).all()


def test_there_may_be_as_many_shards_as_samples():
    parts = partition("shards", np.array([0, 1, 0, 1, 0, 1]), clients=3, shards_per_client=2)
    assert [len(part) for part in parts] == [2, 2, 2]
    assert sorted(np.concatenate(parts)) == list(range(6))
    alone = partition("shards", np.arange(64) % 2, clients=4, shards_per_client=1)
    assert np.all([np.diff(part) == 2 for part in alone])  # a class in its order, on any machine


def test_min_size_is_kept():
    for name in ("dirichlet", "quantity"):
        parts = partition(name, LABELS, clients=8, alpha=0.5, min_size=50)
        assert min(len(part) for part in parts) >= 50
        parts = partition(name, np.zeros(4, dtype=int), clients=4, alpha=1e6)  # min_size: 1
        assert [len(part) for part in parts] == [1] * 4  # not one more is asked for


def test_quantity_with_a_huge_alpha_makes_sizes_alike():
    sizes = [len(part) for part in partition("quantity", CIFAR_LIKE, clients=5, alpha=1e9)]
    assert max(sizes) - min(sizes) < 0.01 * np.mean(sizes)


def test_quantity_skews_sizes_but_not_labels():
    parts = partition("quantity", CIFAR_LIKE, clients=5, alpha=0.5, min_size=2000)
    skew = label_skew(label_counts(parts, CIFAR_LIKE, 10))
    assert skew["size_variation"] > 0.2
    assert skew["total_variation"] < 0.05


# ---- qg-dirichlet


def official_lists(labels, num_clients, alpha, seed):
    """The official procedure, one (index, label) pair and one class at a time."""
    random = np.random.RandomState(seed)  # noqa: NPY002 the official generator
    pairs = np.array(list(enumerate(labels)))
    random.shuffle(pairs)
    lists, begin, waiting = [], 0, num_clients
    while waiting > 0:
        size = min(10, waiting)
        waiting -= 10
        end = begin + int(10 / num_clients * len(labels)) if waiting > 0 else len(labels)
        piece, begin = pairs[begin:end], end
        smallest = 0
        while smallest < int(0.50 * len(piece) / size):
            group = [[] for _ in range(size)]
            for label in range(len(np.unique(labels))):
                members = piece[piece[:, 1] == label, 0]
                p = random.dirichlet(np.repeat(alpha, size))
                p = np.array(
                    [q * (len(own) < len(piece) / size) for q, own in zip(p, group, strict=True)]
                )
                if np.isfinite(p).all() and p.sum() > 0:
                    cuts = (np.cumsum(p / p.sum()) * len(members)).astype(int)[:-1]
                else:
                    cuts = np.zeros(size - 1, int)
                for own, more in zip(group, np.split(members, cuts), strict=True):
                    own.extend(more.tolist())
            smallest = min(map(len, group))
        lists += group
    return lists


@pytest.mark.parametrize("num_clients", [1, 3, 10, 16, 32])
@pytest.mark.parametrize("alpha", [10.0, 0.1, 0.01])
def test_qg_dirichlet_draws_what_the_official_code_draws(num_clients, alpha):
    lists = official_lists(LABELS.tolist(), num_clients, alpha, seed=5)
    uncut = partition("qg-dirichlet", LABELS, num_clients, alpha, seed=5, reslice=False)
    assert [part.tolist() for part in uncut] == lists
    size = int(1 / num_clients * len(LABELS))
    samples = sum(lists, [])
    cut = partition("qg-dirichlet", LABELS, num_clients, alpha, seed=5)
    assert [part.tolist() for part in cut] == [
        samples[client * size : (client + 1) * size] for client in range(num_clients)
    ]


def test_alpha_may_be_of_any_kind_of_number():
    labels = np.arange(100) % 5
    parts = [partition("qg-dirichlet", labels, 4, alpha) for alpha in (1, 1.0, np.float32(1))]
    for other in parts[1:]:
        assert [p.tolist() for p in other] == [p.tolist() for p in parts[0]]


def test_qg_dirichlet_gives_a_class_that_nobody_wants_to_the_last_client():
    # At alpha = 1e-4 most draws underflow to NaN; the official code then cuts at int(NaN).
    labels = np.repeat(np.arange(10), 20)
    for seed in range(3):
        parts = partition("qg-dirichlet", labels, 3, alpha=1e-4, seed=seed, reslice=False)
        with np.errstate(invalid="ignore"):
            assert [p.tolist() for p in parts] == official_lists(labels.tolist(), 3, 1e-4, seed)


# The fact sheet's table: total variation, classes above 1 %, largest share; means over 3 seeds.
@pytest.mark.parametrize(
    ("num_clients", "alpha", "uncut", "cut"),
    [
        (16, 10, (0.115, 9.9, 0.150), (0.128, 9.9, 0.154)),
        (16, 1, (0.375, 8.5, 0.312), (0.389, 8.1, 0.316)),
        (16, 0.1, (0.704, 3.6, 0.600), (0.651, 4.2, 0.523)),
        (16, 0.01, (0.862, 1.4, 0.857), (0.812, 2.1, 0.801)),
        (32, 1, (0.387, 8.4, 0.318), (0.402, 8.1, 0.322)),
        (32, 0.1, (0.692, 3.8, 0.612), (0.653, 4.2, 0.544)),
    ],
)
def test_qg_dirichlet_is_as_skewed_as_the_reference(num_clients, alpha, uncut, cut):
    for reslice, expected in ((False, uncut), (True, cut)):
        skews = [
            label_skew(
                label_counts(
                    partition(
                        "qg-dirichlet", CIFAR_LIKE, num_clients, alpha, seed, reslice=reslice
                    ),
                    CIFAR_LIKE,
                    10,
                )
            )
            for seed in range(3)
        ]
        found = [
            np.mean([skew[key] for skew in skews])
            for key in ("total_variation", "classes_above_1_percent", "largest_class_share")
        ]
        rounding = np.array([0.0006, 0.06, 0.0006])
        assert (np.abs(np.subtract(found, expected)) < rounding).all()


# ---- what is refused


@pytest.mark.parametrize(
    ("name", "clients", "settings", "error", "message"),
    [
        ("dirichlett", 4, {"alpha": 1}, ConfigError, "did you mean dirichlet"),
        ("dirichlet", 4, {}, ConfigError, "alpha must be a number > 0 .* got None"),
        ("qg-dirichlet", 4, {"alpha": 0}, ConfigError, "alpha must be a number > 0 .* got 0"),
        ("quantity", 4, {"alpha": float("nan")}, ConfigError, "alpha must be .* got nan"),
        ("iid", 0, {}, ConfigError, "clients must be a whole number >= 1, got 0"),
        ("iid", 2.5, {}, ConfigError, "clients must be a whole number >= 1, got 2.5"),
        ("iid", 2001, {}, DataError, "2001 clients cannot share 2000 samples"),
        ("iid", 4, {"seed": -1}, ConfigError, "seed must be .* got -1"),
        ("iid", 4, {"shards": 2}, ConfigError, "iid: unknown key shards; there is nothing to set"),
        ("shards", 4, {"shards_per_clients": 2}, ConfigError, "did you mean shards_per_client"),
        ("shards", 4, {"shards_per_client": 0}, ConfigError, "shards_per_client must be .* got 0"),
        ("shards", 1001, {}, DataError, "2002 shards need as many samples, there are 2000"),
        ("quantity", 4, {"alpha": 1, "min_size": 501}, DataError, "need 2004 samples"),
        ("dirichlet", 15, {"alpha": 1e-6}, DataError, "use fewer clients"),
        ("qg-dirichlet", 9, {"alpha": 1e-300}, DataError, "use a larger alpha"),
        ("qg-dirichlet", 4, {"alpha": 1, "reslice": "so"}, ConfigError, "must be true or false"),
    ],
)
def test_a_bad_request_is_refused_in_one_clear_line(
    name, clients, settings, error, message, monkeypatch
):
    monkeypatch.setattr("p2pqg.data.qg_dirichlet.TRIES", 100)  # of 10,000, which take seconds
    with pytest.raises(error, match=message) as caught:
        partition(name, LABELS, clients, **settings)
    assert "\n" not in str(caught.value)


def test_qg_dirichlet_refuses_the_empty_shares_that_official_rounding_would_give():
    assert int(1 / 49 * 49) == 0
    with pytest.raises(DataError, match=r"int\(1 / 49 \* 49\) = 0 samples"):
        partition("qg-dirichlet", np.arange(49) % 10, clients=49, alpha=1.0)


@pytest.mark.parametrize("labels", [np.ones((3, 2), int), [0.5, 1.0], [0, -1], ["a", "b"]])
def test_labels_that_are_no_labels_are_refused(labels):
    with pytest.raises(DataError, match="labels must be a one-dimensional array of integers"):
        partition("iid", labels, clients=1)
    with pytest.raises(DataError, match="labels are masked in places; fill them"):
        partition("iid", np.ma.masked_equal([0, 1, 1], 1), clients=1)
