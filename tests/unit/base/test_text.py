"""Our files are UTF-8 and strict JSON."""

import math

from p2pqg.base import yaml_text
from p2pqg.base.text import json_text, read_json, write_text


def test_json_has_no_infinity_and_no_nan(tmp_path):
    text = json_text({"loss": [math.inf, -math.inf, math.nan, 0.5], "rounds": 3})
    write_text(tmp_path / "a.json", text)
    assert read_json(tmp_path / "a.json") == {"loss": [None, None, None, 0.5], "rounds": 3}


def test_names_in_every_script_survive_any_locale(tmp_path, monkeypatch):
    monkeypatch.setattr("locale.getpreferredencoding", lambda do_setlocale=True: "ascii")
    content = {"name": "Zürich-北京", "who": ["Ødegård", "Ünal"]}
    write_text(tmp_path / "a.yaml", yaml_text.dump(content))
    assert yaml_text.parse((tmp_path / "a.yaml").read_text("utf-8")) == content
