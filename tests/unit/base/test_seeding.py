"""Random numbers by key: what they depend on, and that they look random."""

import hashlib

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from p2pqg.base.seeding import rng, uniforms

CLIENTS = np.arange(1000)


def test_generators_differ_by_seed_purpose_and_keys():
    draws = [rng(*key).random() for key in ((1, "a"), (2, "a"), (1, "b"), (1, "a", 0))]
    assert len(set(draws)) == 4


@pytest.mark.parametrize("seed", [0, 7, 2**32, 2**64 + 5])
@pytest.mark.parametrize("keys", [(), (0,), (3, 0, 9), (2**32 - 1, 2**32, 2**70), (np.int64(5),)])
def test_a_generator_is_that_of_the_seed_sequence_of_count_purpose_seed_and_keys(seed, keys):
    purpose = int.from_bytes(hashlib.blake2b(b"noise", digest_size=8).digest(), "little")
    plain = [len(keys), purpose, seed, *map(int, keys)]
    expected = np.random.PCG64(np.random.SeedSequence(plain)).state
    assert rng(seed, "noise", *keys).bit_generator.state == expected


def test_what_is_no_number_from_zero_on_is_no_key():
    for wrong, error in ((-1, ValueError), (1.5, TypeError)):
        with pytest.raises(error):
            rng(0, "noise", wrong)


@pytest.mark.parametrize("kind", [np.int32, np.uint8, np.int64, np.uint64])
def test_a_seed_may_be_an_integer_of_any_type_and_no_float(kind):
    purpose = f"of {kind.__name__}"  # nothing is remembered of it
    assert uniforms(kind(200), purpose + " too", 3) == uniforms(200, purpose + " too", 3)
    assert rng(kind(200), purpose, 3).random() == rng(200, purpose, 3).random()
    with pytest.raises(TypeError):
        rng(200.0, purpose, 3)


def test_a_uniform_depends_on_its_own_keys_only():
    all_pairs = uniforms(7, "loss", CLIENTS[:, None], CLIENTS, 5)
    assert all_pairs.shape == (1000, 1000)
    assert_array_equal(all_pairs[3, ::-1], uniforms(7, "loss", 3, CLIENTS[::-1], 5))
    assert all_pairs[8, 9] == uniforms(7, "loss", np.int32(8), 9, 5)


def test_uniforms_are_the_finalizer_of_splitmix64():
    def scrambled(bits):
        bits = (bits + 0x9E3779B97F4A7C15) % 2**64
        bits = ((bits ^ bits >> 30) * 0xBF58476D1CE4E5B9) % 2**64
        bits = ((bits ^ bits >> 27) * 0x94D049BB133111EB) % 2**64
        return bits ^ bits >> 31

    senders, round = np.array([[3, 2**40], [0, 7]]), 5
    for sender, drawn in zip(senders.flat, uniforms(2, "loss", senders, round).flat, strict=True):
        bits = int(rng(2, "loss", 2).integers(2**64, dtype=np.uint64))
        for key in (int(sender), round):
            bits = scrambled(scrambled(bits ^ key))
        assert drawn == (bits >> 11) * 2.0**-53
    assert_array_equal(senders, [[3, 2**40], [0, 7]])


def test_uniforms_differ_by_seed_purpose_number_and_order_of_keys():
    keys = [(1, "a", 0), (2, "a", 0), (1, "b", 0), (1, "a"), (1, "a", 0, 0), (1, "a", 0, 1)]
    keys.append((1, "a", 1, 0))
    assert len({float(uniforms(*key)) for key in keys}) == len(keys)


def test_uniforms_fill_the_unit_interval_evenly_and_do_not_collide():
    for seed in range(3):
        u = uniforms(seed, "loss", CLIENTS[:, None], CLIENTS, seed).ravel()
        assert u.min() >= 0
        assert u.max() < 1
        assert len(np.unique(u)) == len(u)  # of 2**53 values: one collision in 20,000 tries
        counts = np.histogram(u, bins=256, range=(0, 1))[0]
        chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
        assert abs(chi_square - 255) < 5 * np.sqrt(2 * 255)
        low_bits = (u * 2**53).astype(np.uint64) % 256
        counts = np.bincount(low_bits.astype(int), minlength=256)
        chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
        assert abs(chi_square - 255) < 5 * np.sqrt(2 * 255)


def test_uniforms_of_neighboring_keys_are_uncorrelated():
    u = uniforms(0, "loss", CLIENTS[:, None], CLIENTS, 0)
    others = [u[1:, :], u[:, 1:], uniforms(0, "loss", CLIENTS[:, None], CLIENTS, 1)]
    others += [u.T, uniforms(1, "loss", CLIENTS[:, None], CLIENTS, 0)]
    for other in others:
        here = u[: other.shape[0], : other.shape[1]]
        apart = here != other  # the diagonal is its own transpose
        assert abs(np.corrcoef(here[apart], other[apart])[0, 1]) < 5 / np.sqrt(apart.sum())


def test_no_keys_is_one_draw():
    assert uniforms(3, "anything").shape == ()
