import pytest

from p2pqg.base.dotted import assign, flat, set_dotted
from p2pqg.base.errors import ConfigError


def test_nested_settings_get_dotted_keys_and_a_part_is_called_by_its_name():
    config = {"lr": 1, "algorithm": {"name": "edm", "beta": 0.9}, "name": "x", "empty": {}}
    assert flat(config) == {"lr": 1, "algorithm": "edm", "algorithm.beta": 0.9, "name": "x"}


def test_assigning_does_not_change_what_runs_share():
    base = {"algorithm": {"name": "dmsgd"}}
    settings = dict(base)
    assign(settings, "algorithm.mu", 0.1)
    assert base == {"algorithm": {"name": "dmsgd"}}


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("lr", "^--set must be KEY=VALUE, got 'lr'$"),
        ("=1", "^--set must be KEY=VALUE, got '=1'$"),
        ("lr= ", "^--set lr= : there is no value; null leaves lr unset"),
        ("lr.a=1", "^--set lr.a=1: lr has no keys below it"),
        ("algorithm.mu={", "^--set algorithm.mu={: the value is not valid YAML; quote it$"),
    ],
)
def test_a_setting_that_cannot_be_made_is_one_clear_line(said, complaint):
    settings = {"lr": 0.1, "algorithm": "dmsgd"}
    with pytest.raises(ConfigError, match=complaint):
        set_dotted(settings, said)
    assert settings == {"lr": 0.1, "algorithm": "dmsgd"}
