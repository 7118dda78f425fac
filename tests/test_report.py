"""`ser-generalize report`: the table, the page, the numbers, the pictures, and what it refuses."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from make_predictions import predictions, write_run
from sklearn.metrics import balanced_accuracy_score

from ser_generalize import report
from ser_generalize.command import run_command
from ser_generalize.labels import FIVE
from ser_generalize.page import page
from ser_generalize.predictions import Predictions
from ser_generalize.summary import group_runs, points, read_runs, swarm

CORPORA = {"ravdess": (12, 4), "emodb": (5, 6), "tess": (2, 10)}
HOSTILE = '<script>alert("x")</script>'
VOID = {"meta", "link"}


class Page(HTMLParser):
    """Checks that tags close and collects what a browser would load, run or show."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        found = dict(attributes)
        self.links += [found[name] or "" for name in ("src", "href", "srcset") if name in found]
        self.ids += [found["id"] or ""] if "id" in found else []
        self.open += [tag] if tag not in VOID else []

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    made = {
        "base": predictions("base", CORPORA),
        "better": predictions("better", CORPORA, mean=1.8, notes=("2 of 12 folds fell back",)),
        "random": predictions("random", CORPORA, mean=2.5, protocol="random", leaks=("speaker",)),
        "meld": predictions(
            "meld", {"meld": (9, 6)}, classes=FIVE, label_set="five", missing=[("meld:03", "sad")]
        ),
        "crema": predictions("crema", {"crema_d": (7, 5)}),
    }
    return {name: write_run(folder / name, run) for name, run in made.items()}


@pytest.fixture(scope="module")
def written(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "deep" / "report"
    report.main([*map(str, runs.values()), "--out", str(out)])
    return out


def refused(arguments: list[str | Path], capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command, which must fail with one line, and return that line."""
    assert run_command("ser-generalize report", report.main, list(map(str, arguments))) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_page_is_self_contained_and_well_formed(written: Path) -> None:
    source = (written / "report.html").read_text(encoding="utf-8")
    found = Page(source)
    assert source.startswith("<!doctype html>")
    assert "script" not in found.seen and "img" not in found.seen
    anchors = {link for link in found.links if link.startswith("#")}
    assert anchors <= {f"#{name}" for name in found.ids}
    assert set(found.links) - anchors == {"data:,"}
    assert "url(" not in source and "@import" not in source and "http" not in source


def test_page_shows_what_was_run_and_what_was_not_promised(written: Path) -> None:
    text = " ".join(Page((written / "report.html").read_text(encoding="utf-8")).text.split())
    for words in (
        "openai/whisper-base",
        "2 of 12 folds fell back",
        "What this protocol does not promise. Test speakers are also in the training part",
        "1 of 9 speakers lack clips of a class",
        "tess: no interval: 2 known speakers, at least 4 are needed",
        "'base' and 'crema' have no clip in common",
        "Scores of other label sets are not comparable",
        "Leave one speaker out",
        "(ser-generalize 0.1.0)",
    ):
        assert words in text, words


def test_numbers_are_complete_and_right(written: Path, runs: dict[str, Path]) -> None:
    found = json.loads((written / "results.json").read_text(encoding="utf-8"))
    run = predictions("base", CORPORA)
    rows = run.column("corpus") == "ravdess"
    expected = balanced_accuracy_score(run.labels()[rows], run.probabilities().argmax(1)[rows])
    one = next(
        row for row in found["scores"] if row["run"] == "base" and row["corpus"] == "ravdess"
    )
    assert one["value"] == pytest.approx(expected)
    assert 0 < one["low"] < one["value"] < one["high"] < 1
    assert (one["metric"], one["protocol"], one["clips"], one["speakers"]) == (
        "uar",
        "loso",
        192,
        12,
    )
    assert {row["run"] for row in found["differences"]} == {"better", "random"}
    assert [row["run"] for row in found["not_compared"]] == ["crema"]
    lacking = [row for row in found["speakers"] if row["lacking"]]
    assert [(row["name"], row["uar"], row["lacking"]) for row in lacking] == [
        ("meld:03", None, ["sad"])
    ]
    counts = sum(np.sum(row["true_by_predicted"]) for row in found["confusion"])
    clips = [
        row
        for row in found["scores"]
        if row["metric"] == "uar" and row["corpus"] != "macro-average"
    ]
    assert counts == sum(row["clips"] for row in clips)


def test_pictures_are_written(written: Path) -> None:
    names = {path.name for path in (written / "figures").iterdir()}
    assert {"group1-uar.png", "group1-differences.png", "group2-uar.png"} <= names
    assert {"run1-ravdess-confusion.png", "run5-meld-speakers.png"} <= names
    assert "group2-differences.png" not in names
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in (written / "figures").iterdir())


def test_terminal_table_is_narrow_and_says_what_the_page_says(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    long = write_run(
        tmp_path / "long", predictions("a-run-whose-name-goes-on-and-on-" * 3, CORPORA)
    )
    lines = report.text(group_runs(read_runs([*runs.values(), long]))).splitlines()
    tables = [line for line in lines if line.startswith("  ") or line.endswith("speakers")]
    assert len(tables) > 20
    assert max(map(len, lines)) <= 100
    assert "macro-average (chance 25.0)" in lines
    assert any("none*" in line for line in tables)
    assert any("better: 2 of 12 folds fell back" in line for line in lines)
    assert any(line.startswith("Label set five: neutral, happy") for line in lines)


def test_everything_from_the_user_is_escaped(tmp_path: Path) -> None:
    run = predictions(HOSTILE, {HOSTILE: (4, 3)}, encoder=HOSTILE, notes=(HOSTILE,))
    folder = write_run(tmp_path / "run", run)
    other = write_run(tmp_path / "other", predictions("$a_{$", {HOSTILE: (4, 3)}, leaks=(HOSTILE,)))
    report.main([str(folder), str(other), "--out", str(tmp_path / "out")])
    found = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert "script" not in found.seen
    assert found.text.count(HOSTILE) > 5


def test_the_same_runs_give_the_same_report(runs: dict[str, Path]) -> None:
    folders = [runs["base"], runs["better"]]
    assert page(group_runs(read_runs(folders))) == page(group_runs(read_runs(folders)))


def test_a_run_across_corpora_is_shown_by_the_corpus_trained_on(tmp_path: Path) -> None:
    names = ("crema_d", "emodb", "ravdess")
    pairs = []
    for seed, origin in enumerate(names):
        others = {name: (6, 4) for name in names if name != origin}
        one = predictions("cross", others, mean=seed, protocol="cross")
        folds = [f"{origin}>{corpus}" for corpus in one.column("corpus")]
        pairs.append(one.table.set_column(2, "fold", pa.array(folds)))
    run = Predictions(one.about, pa.concat_tables(pairs))
    folder = write_run(tmp_path / "run", run)
    report.main([str(folder), "--out", str(tmp_path / "out")])
    found = json.loads((tmp_path / "out" / "results.json").read_text())["crossed"]
    assert [(row["trained_on"], row["corpus"]) for row in found] == [
        (origin, corpus) for origin in names for corpus in names if origin != corpus
    ]
    rows = run.column("fold") == "emodb>ravdess"
    expected = balanced_accuracy_score(run.labels()[rows], run.probabilities().argmax(1)[rows])
    assert found[3]["value"] == pytest.approx(expected)
    assert found[3]["low"] < expected < found[3]["high"]
    source = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    text = " ".join(Page(source).text.split())
    assert "From one corpus to another Trained on by row, tested on by column" in text
    assert (tmp_path / "out" / "figures" / "run1-crossed.png").is_file()


def test_runs_of_different_data_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another state of a corpus is other data; another corpus, or other clips of it, is not."""

    def made(name: str, *corpora: str) -> Path:
        run = predictions(name, {"x": (4, 2)}, dataset=name)
        run = replace(run, about=replace(run.about, corpora=corpora))
        return write_run(tmp_path / name, run)

    first, again = made("first", "x 111111111111"), made("again", "y 9", "x 111111111111")
    report.main([str(first), str(again), "--out", str(tmp_path / "out")])
    other = made("other", "x 222222222222", "y 9")
    line = refused([first, again, other, "--out", tmp_path / "new"], capsys)
    for words in ("'first' and 'other'", "corpus x", "111111111111", "222222222222"):
        assert words in line
    assert not (tmp_path / "new").exists()


def test_one_run_of_unknown_speakers_has_a_page(tmp_path: Path) -> None:
    run = predictions(corpora={"x": (1, 5)})
    speaker = run.table.schema.get_field_index("speaker")
    nobody = run.table.set_column(speaker, "speaker", pa.nulls(20, pa.string()))
    folder = write_run(tmp_path / "run", Predictions(run.about, nobody))
    text = Page(page(group_runs(read_runs([folder])))).text
    assert "The speakers of this corpus are not known." in text
    assert "No interval: 0 known speakers" in text


def test_a_report_is_replaced_and_nothing_else(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    report.main([str(runs["meld"]), "--out", str(out)])
    first = (out / "report.html").read_text(encoding="utf-8")
    report.main([str(runs["crema"]), "--out", str(out)])
    assert (out / "report.html").read_text(encoding="utf-8") != first
    assert not list(out.glob("figures/*meld*"))
    (out / "thesis.tex").write_text("mine")
    capsys.readouterr()
    assert "holds other things (thesis.tex)" in refused([runs["crema"], "--out", out], capsys)
    assert "holds other things" in refused([runs["base"], "--out", runs["base"]], capsys)
    assert "is a file" in refused([runs["base"], "--out", out / "thesis.tex"], capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("mine", ["figures/mine.txt", "figures/mine.png", "report.html"])
def test_a_folder_that_looks_like_a_report_is_kept(
    mine: str, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "paper" / "figures").mkdir(parents=True)
    (tmp_path / "paper" / mine).write_text("mine")
    (tmp_path / "paper.part").mkdir()  # nobody's but the user's
    assert "holds other things" in refused([runs["meld"], "--out", tmp_path / "paper"], capsys)
    assert (tmp_path / "paper" / mine).read_text() == "mine"
    report.main([str(runs["meld"]), "--out", str(tmp_path / "elsewhere")])
    assert (tmp_path / "paper.part").is_dir()


def test_mistakes_are_one_clear_line(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, base = tmp_path / "out", runs["base"]
    again = base.parent / "better" / ".." / "base"
    assert "given more than once" in refused([base, again, "--out", out], capsys)
    assert "no predictions.parquet" in refused([tmp_path, "--out", out], capsys)
    assert "--help" in refused([base], capsys)
    empty = predictions("empty")
    write_run(tmp_path / "empty", Predictions(empty.about, empty.table.slice(0, 0)))
    assert "predicts no clip" in refused([tmp_path / "empty", "--out", out], capsys)
    assert not out.exists()


def test_runs_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    folders = [tmp_path / place / "run" for place in ("a", "b")] + [tmp_path / "c"]
    for folder in folders:
        write_run(folder, predictions(corpora={"x": (4, 2)}))
    names = [run.name for run in read_runs(folders)]
    assert names == ["base (run) (1)", "base (run) (2)", "base (c)"]


def test_swarm_hides_no_dot_and_points_have_a_sign() -> None:
    values = list(np.random.default_rng(0).random(80).round(2))
    rows = swarm(values, 0.03)
    for row in set(rows):
        level = sorted(value for value, at in zip(values, rows, strict=True) if at == row)
        assert all(right - left >= 0.03 for left, right in pairwise(level))
    assert [points(value) for value in (0.0314, -0.02, -0.0001)] == ["+3.1", "−2.0", "0.0"]
