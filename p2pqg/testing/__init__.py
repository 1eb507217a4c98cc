"""Conformance kit: numbers that can be derived, checked on any algorithm, also your own.

    import pytest
    from p2pqg.testing import UNIVERSAL, USUAL

    @pytest.mark.parametrize("check", UNIVERSAL + USUAL)
    def test_my_algorithm(check):
        check("my_file.py:my_algorithm", beta=0.5)  # or its registered name

`UNIVERSAL` holds for every algorithm that keeps the rules of the house (rows mix only in `yield`,
and what is yielded does not depend on values).
`USUAL` holds for most; leave out what your algorithm has a reason not to fulfil. The other checks
want to be told what to expect. Everything runs in this process, in float64, on quadratics whose
optimum and fixed points are known; a broken promise is an AssertionError.

They are in `universal.py`, `usual.py`, `special.py` and `private.py`; `plays.py` is how they play
an algorithm, and `listener.py` hears what it asks.
"""

from p2pqg.testing.plays import (
    ROUNDS,
    assert_same,
    bytes_sent,
    dense,
    entry_of,
    falling_lr,
    run,
    suitable_topology,
)
from p2pqg.testing.private import check_private
from p2pqg.testing.special import (
    check_again,
    check_bytes,
    check_comes_to_rest_at,
    check_complete_is,
    check_finds_optimum,
    check_is,
    check_one_local_step_is,
    check_rule_is_gossip,
    check_sums_to_zero,
    check_tracks_mean_gradient,
)
from p2pqg.testing.universal import (
    UNIVERSAL,
    check_hosting,
    check_permutation,
    check_purity,
    check_requests,
    check_resume,
)
from p2pqg.testing.usual import (
    USUAL,
    check_alone,
    check_equal_stays_equal,
    check_mean_finds_optimum,
)
from p2pqg.theory.quadratics import CLIENTS, DIM, Quadratics, starts

__all__ = [
    "CLIENTS",
    "DIM",
    "Quadratics",
    "ROUNDS",
    "UNIVERSAL",
    "USUAL",
    "assert_same",
    "bytes_sent",
    "check_again",
    "check_alone",
    "check_bytes",
    "check_comes_to_rest_at",
    "check_complete_is",
    "check_equal_stays_equal",
    "check_finds_optimum",
    "check_hosting",
    "check_is",
    "check_mean_finds_optimum",
    "check_one_local_step_is",
    "check_permutation",
    "check_private",
    "check_purity",
    "check_requests",
    "check_resume",
    "check_rule_is_gossip",
    "check_sums_to_zero",
    "check_tracks_mean_gradient",
    "dense",
    "entry_of",
    "falling_lr",
    "run",
    "starts",
    "suitable_topology",
]
