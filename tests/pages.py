"""A page of p2pqg as tests read it, and runs that have something to say."""

import json
from html.parser import HTMLParser

from p2pqg.results.run import Run

VOID = {"meta", "br", "input", "link", "img", "hr"}


class Page(HTMLParser):
    """Elements as (tag, attributes, text inside), in order of their start."""

    def __init__(self, text):
        super().__init__()
        self.text = text
        self.elements, self._open = [], []
        self.feed(text)
        self.close()
        assert not self._open, f"not closed: {self._open[-1][0]}"

    def handle_starttag(self, tag, attributes):
        element = (tag, dict(attributes), [])
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        for element in self._open:
            element[2].append(data)

    def all(self, tag, **attributes):
        """(attributes, text) of the elements with that tag and those attributes."""
        return [
            (found, " ".join("".join(texts).split()))
            for name, found, texts in self.elements
            if name == tag and all(found.get(k.rstrip("_")) == v for k, v in attributes.items())
        ]

    def data(self, id):
        (found,) = ("".join(t) for n, a, t in self.elements if n == "script" and a.get("id") == id)
        return json.loads(found)

    @property
    def values(self):
        """Every number of the results, as recorded."""
        return [float(found["value"]) for found, _ in self.all("data")]

    @property
    def said(self):
        """All that can be read."""
        return self.all("body")[0][1]

    @property
    def notes(self):
        return [text for _, text in self.all("p", class_="note")]


def algorithm(name):
    """Settings of a run of it."""
    return {"algorithm": {"name": name}}


def with_summary(run, **more):
    """The run, whose summary says more."""
    (run.path / "summary.json").write_text(json.dumps(run.summary | more))
    return Run(run.path)
