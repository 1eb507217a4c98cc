"""The page needs nothing from elsewhere, and takes no text of a user's for HTML."""

import base64

import yaml
from pages import algorithm, with_summary

from p2pqg.page.runs import gather, labels
from p2pqg.results.parquet import write_parquet
from p2pqg.results.schemas import ROUND_COLUMNS


def test_nothing_is_loaded_from_elsewhere(recorded, page_of):
    page = page_of(recorded("a"), recorded("b", lr=0.2))
    for _, attributes, _ in page.elements:
        assert not {"src", "srcset", "poster", "background", "action"} & attributes.keys()
        assert attributes.get("href", "data:").startswith("data:")
    assert not page.all("link")
    style = page.all("style")[0][1]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] for a, _ in page.all("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")


def test_what_a_user_wrote_stays_text(recorded, page_of, tmp_path):
    evil = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    runs = [
        recorded(f"{i} <b>", lr=lr, folder=tmp_path / "<i>", **algorithm(f"{evil}{i}"))
        for i, lr in enumerate((0.1, 0.2))
    ]
    page = page_of(*runs)
    assert len(page.all("script")) == 5  # ours: data and code, of the page and of its slider
    assert not page.all("img")
    assert not any(text for _, text in page.all("i"))
    assert page.data("names") == labels(gather([run.path for run in runs]))
    recipes = [text for _, text in page.all("code")]
    assert any("alert(1)" in text for text in recipes)


def test_the_recipe_repeats_the_run(recorded, page_of):
    run = recorded("a b")
    page = page_of(run)
    command = page.all("code")[0][1]
    assert command == f"p2pqg run '{run.path}/config.yaml' --name 'a b-again'"
    recipe = next(a["data-copy"] for a, _ in page.all("button") if "topology:" in a["data-copy"])
    assert yaml.safe_load(recipe) == run.config | {"out": run.path.parent.name}


def test_the_page_does_not_say_where_the_sender_keeps_files(
    recorded, page_of, tmp_path, monkeypatch
):
    ring, photos = tmp_path / "office.csv", str(tmp_path / "photos")
    ring.write_text("source,target\n" + "".join(f"{i},{(i + 1) % 16}\n" for i in range(16)))
    runs = [recorded("a", topology=str(ring), data_dir=photos), recorded("b", lr=0.3, data_dir="d")]
    monkeypatch.chdir(tmp_path)
    for shown in (runs, runs[:1]):
        page = page_of(*shown)
        assert str(tmp_path) not in page.text
        links = [a["href"] for a, _ in page.all("a") if a.get("download")]
        recipe = base64.b64decode(links[0].partition("base64,")[2]).decode()
        assert recipe.startswith("# without the folders of the machine it ran on: ")
        assert yaml.safe_load(recipe)["topology"] == "office.csv"
        assert yaml.safe_load(recipe)["data_dir"] == "photos"
        assert "office.csv: 16 clients, degree 2" in page.text  # for that the file was read


def test_names_of_metrics_and_warnings_stay_text(recorded, page_of):
    evil = "<img src=x onerror=alert(1)>"
    run = recorded("a", attacks=[{"who": [3], "how": evil}])
    row = {"round": 0, "train_loss": 1.0, "test_accuracy": 0.5, "test_loss": 1.0, evil: 0.25}
    write_parquet(run.path / "rounds.parquet", [row], ROUND_COLUMNS | {evil: "float64"})
    events = [{"round": 1, "what": "set_lr 0.1"}, {"round": 1, "what": evil}]
    page = page_of(with_summary(run, events=events, restarts=[f"round 2: {evil}"]))
    assert not page.all("img")
    assert page.said.count(evil) >= 4  # who lies, a metric's number, a warning, an actor's death
    assert evil in page.data("points")
