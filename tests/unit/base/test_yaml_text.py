"""YAML as p2pqg reads it: numbers that are numbers, and files that cannot do harm."""

import math

import pytest

from p2pqg.base.config import load_yaml
from p2pqg.base.dotted import set_dotted
from p2pqg.base.errors import ConfigError
from p2pqg.base.yaml_text import NotYaml, dump, parse, parse_own


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-2", 0.01),
        ("1E5", 1e5),
        ("1.e3", 1000.0),
        ("-.5", -0.5),
        ("10_000", 10_000),
        ("1_0e3", 1e4),
        ("+3", 3),
        ("-.inf", -math.inf),
        ("1e400", math.inf),
    ],
)
def test_a_number_is_a_number(text, value):
    read = parse(text)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("text", ["1__0_", "010", "0x10", "12:30", "1e", "e1", "1_", "1_0_.5"])
def test_what_people_would_not_take_for_a_number_is_a_text(text):
    assert parse(text) == text
    assert parse(dump({"name": text})) == {"name": text}


@pytest.mark.parametrize("value", ["1e-2", "1E5", "10_000", "yes", "2020-01-01", "~", "#", 1e-5, 3])
def test_what_is_dumped_is_read_as_it_was(value):
    text = dump({"b": [value], "a": value})
    for read in (parse(text), parse_own(text)):
        assert read == {"b": [value], "a": value}
        assert list(read) == ["b", "a"]
        assert type(read["a"]) is type(value)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("!!python/object/apply:os.system ['exit 1']", 1, "could not determine a constructor"),
        ("a: 1\nb: !!python/name:os.system x", 2, "could not determine a constructor"),
        (BOMB, 1, "its aliases stand for 12,345,679,0"),
        ("&a [*a]", 1, "an alias stands for what it is in"),
        ("x: &a {b: *a}", 1, "an alias stands for what it is in"),
        ("[" * 3000, None, "nested too deeply"),
        ("a: " + "9" * 5000, 1, "a number of 5,000 digits"),
        ("a: 1\na: 2", 2, "the key a is there twice"),
        ("a: !!timestamp x", None, "cannot be read"),
        ("a: !!int x", None, "cannot be read"),
        ("\x00", None, "special characters"),
        ("a: b: c", 1, "mapping values are not allowed"),
        ("a: 1\n---\nb: 2", 2, "another document"),
    ],
    ids=range(13),
)
def test_a_text_that_would_do_harm_or_is_none_is_refused_at_once(text, line, problem):
    with pytest.raises(NotYaml, match=problem) as refused:
        parse(text)
    assert refused.value.line == line


def test_aliases_as_people_use_them_are_read():
    assert parse("base: &ring [[0, 1], [1, 2]]\nothers: [*ring, *ring]")["others"][1] == [
        [0, 1],
        [1, 2],
    ]
    assert parse("x: &x {a: 1}\ny: {<<: *x, a: 2}")["y"] == {"a": 2}


def test_a_recipe_and_a_flag_are_read_like_that(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("# α\nlr: 1e-2\n", encoding="utf-8")
    assert load_yaml(path) == {"lr": 0.01}
    settings = {}
    set_dotted(settings, "lr=1e-2")
    assert settings == {"lr": 0.01}
    path.write_text("lr: 1\n\nlr: 2\n")
    with pytest.raises(ConfigError, match="not valid YAML at line 3: the key lr is there twice"):
        load_yaml(path)
