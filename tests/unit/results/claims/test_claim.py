"""What may be claimed, and what is refused of it."""

import pytest
from claimed import CLAIM

from p2pqg.base.errors import ConfigError
from p2pqg.results.claims import read_claims


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        (3, "claim must be a mapping with left and holds_if, got 3"),
        ({"a": 3}, "claim.a must be a mapping"),
        ({"left": {"algorithm": "d2"}}, "claim.holds_if is missing"),
        (CLAIM | {"rihgt": {}}, "unknown key claim.rihgt; did you mean right"),
        (CLAIM | {"by": "factor"}, "claim.by must be difference or ratio"),
        (CLAIM | {"holds_if": {"over": 0}}, r"holds_if must be \{above: X\}"),
        (CLAIM | {"holds_if": {"within": [2, 1]}}, "holds_if must be"),
        (CLAIM | {"by": "ratio"}, "holds_if must be > 0 for a ratio"),
        (CLAIM | {"metric": "rounds"}, "claim.metric must be a result .*, and rounds is a setting"),
        (CLAIM | {"left": {}}, "claim.left must be settings of runs"),
        (CLAIM | {"left": {"left": {"lr": 1}}}, "claim.left.right must be a mapping"),
        (CLAIM | {"each": {"alpha": []}}, "claim.each.alpha must be a list of values"),
        ({"left": {"lr": 1}, "holds_if": {"above": 1}, "by": "ratio"}, "by needs a right side"),
    ],
)
def test_a_wrong_claim_is_refused(claim, text):
    with pytest.raises(ConfigError, match=text):
        read_claims(claim)
