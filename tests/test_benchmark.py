"""`benchmark` end to end: every cell once, in a folder named by content, whatever came between."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from make_dataset import Row, change_dataset
from make_store import write_corpora
from watching import count_calls, wait_for

from ser_generalize import benchmark, groups, reader, report, train
from ser_generalize.benchmark import answer, grid, subsets
from ser_generalize.benchmark import report as study_report
from ser_generalize.benchmark.folder import RESULTS
from ser_generalize.benchmark.part import Study
from ser_generalize.benchmark.registry import PARTS
from ser_generalize.benchmark.report import write_report
from ser_generalize.benchmark.results import read_rows, section_rows, write_rows
from ser_generalize.benchmark.sections import Row as Number
from ser_generalize.benchmark.sections import Section
from ser_generalize.benchmark.subsets import train_sets
from ser_generalize.benchmark.worth import worth_section
from ser_generalize.cell import Cell
from ser_generalize.command import run_command
from ser_generalize.predictions import FILE_NAME, read_predictions
from ser_generalize.statistics import MACRO_AVERAGE, score
from ser_generalize.training import Recipe

Folders = tuple[Path, Path]  # a dataset and its store
CELLS = 8  # of `generalise` over three corpora: loco, cross, three sizes, three unions without one
SETS = 6


def arguments(folders: Folders, out: Path, *options: str) -> list[str]:
    data, store = folders
    named = ["--dataset", str(data), "--embeddings", str(store), "--out", str(out)]
    return [*named, "--head", "8", *(options or ("--only", "generalise"))]


def runs_of(out: Path) -> dict[str, bytes]:
    """Return what every finished run of a study predicts."""
    return {done.parent.name: (done.parent / FILE_NAME).read_bytes() for done in _done(out)}


def _done(out: Path) -> list[Path]:
    return list(out.glob("runs/*/done"))


def numbers(out: Path) -> list[Number]:
    return read_rows(out / "report" / RESULTS)


def of_table(out: Path, table: str) -> list[Number]:
    return [row for row in numbers(out) if row.table == table]


@pytest.fixture(scope="module")
def three(dataset: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Three corpora, the third without angry clips."""
    changes: dict[str, Callable[[list[Row]], list[Row]]] = {
        "other": lambda rows: rows,
        "third": lambda rows: [row for row in rows if row["native_label"] != "angry"],
    }
    return write_corpora(tmp_path_factory.mktemp("three"), dataset, store, changes)


@pytest.fixture(scope="module")
def study(three: Folders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that nothing happened to."""
    out = tmp_path_factory.mktemp("study") / "out"
    benchmark.main(arguments(three, out))
    return out


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads are hardly trained, and of the report only the numbers are written."""
    recipe = property(lambda cell: Recipe(loss=cell.loss, epochs=2))
    monkeypatch.setattr(Cell, "recipe", recipe)
    monkeypatch.setattr(answer, "write_report", write_numbers)


def write_numbers(out: Path, _study: object, sections: Sequence[Section]) -> None:
    out.mkdir(exist_ok=True)
    write_rows(out / RESULTS, section_rows(sections))


def test_a_study_runs_every_cell_once_and_reports_its_predictions(study: Path) -> None:
    assert len(runs_of(study)) == CELLS
    (loco,) = study.glob("runs/loco-*")
    found = {row.corpus: row for row in of_table(study, "generalise-loco") if row.metric == "uar"}
    for result in score(read_predictions(loco)):
        row, expected = found[result.corpus], result.estimates["uar"]
        assert (row.value, row.clips, row.protocol) == (expected.value, result.clips, "loco")
        assert expected.interval is not None
        assert (row.low, row.high) == (expected.interval.low, expected.interval.high)
    assert json.loads((study / "study.json").read_text())["finished"] is True
    assert "Leave one corpus out" in (study / "report" / "report.html").read_text(encoding="utf-8")


def test_the_cross_matrix_is_whole(study: Path) -> None:
    pairs = {(row.trained_on, row.corpus): row for row in of_table(study, "generalise-cross")}
    names = ("other", "ravdess", "third")
    assert set(pairs) == {(one, other) for one in names for other in names}
    assert {row.protocol for (one, other), row in pairs.items() if one == other} == {"loso"}
    assert pairs["ravdess", "third"].chance == pytest.approx(1 / 3)


def test_shapley_values_add_up_to_what_all_corpora_are_worth(study: Path) -> None:
    """And the curve's last point is what training on all others gives."""
    worth = of_table(study, "generalise-shapley-by-corpus")
    curve = {
        row.corpus: row for row in of_table(study, "generalise-corpora") if row.setting[-1] == "2"
    }
    for tested in ("other", "ravdess", "third"):
        added = sum(row.value for row in worth if row.corpus == tested)
        all_others = curve[tested]
        assert added == pytest.approx(all_others.value - (all_others.chance or math.nan))
    mean = {row.trained_on: row.value for row in of_table(study, "generalise-shapley")}
    for name, value in mean.items():
        own = [row.value for row in worth if row.trained_on == name]
        assert len(own) == 2
        assert value == pytest.approx(sum(own) / 2)


def test_a_finished_study_returns_at_once(
    three: Folders, study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*")}
    for module, name in ((grid, "train_cell"), (answer, "make_grid"), (reader, "read_features")):
        monkeypatch.delattr(module, name)
    benchmark.main(arguments(three, study))
    assert capsys.readouterr().out == f"benchmark: {study} is done already\n"
    assert {path: path.stat().st_mtime_ns for path in study.rglob("*")} == before


def test_a_report_that_was_lost_is_written_again(
    three: Folders, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(study, tmp_path / "study")
    shutil.rmtree(out / "report")
    trained = count_calls(monkeypatch, grid, "train_cell")
    benchmark.main(arguments(three, out))
    assert numbers(out) == numbers(study) and not trained


def test_the_dataset_is_read_once_and_embeddings_once_for_cells_of_the_same_clips(
    three: Folders, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    loaded = count_calls(monkeypatch, reader, "load_clips")
    read = count_calls(monkeypatch, reader, "read_features")
    out = tmp_path / "out"
    benchmark.main(arguments(three, out, "--only", "grid"))
    assert sorted(name for _, (name,) in loaded) == ["other", "ravdess", "third"]
    assert len(runs_of(out)) == 4 * (2 * 2 + 3)  # samplers: label sets, each or union; native
    assert len(read) == 5  # four, five, and three native label sets
    printed = capsys.readouterr().out
    assert "benchmark: 28 cells to train (0 are done), about" in printed
    assert "cannot be told apart" in printed
    # The other part wants two of these cells: one is the same by content, whoever asked.
    benchmark.main(arguments(three, out))
    assert f"benchmark: {CELLS - 2} cells to train (2 are done)" in capsys.readouterr().out


def test_a_killed_study_goes_on_and_what_is_missing_is_said(
    three: Folders, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    command = [sys.executable, "-m", "ser_generalize.benchmark", *arguments(three, out)]
    quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as started:  # type: ignore[call-overload]
        wait_for(lambda: len(_done(out)) >= 3 or started.poll() is not None)
        started.kill()
    monkeypatch.setattr(answer, "write_report", write_numbers)
    done = runs_of(out)
    assert 3 <= len(done) < CELLS

    benchmark.main(arguments(three, out, "--only", "generalise", "--report-only"))
    printed = capsys.readouterr().out
    assert printed.count("not run yet") == CELLS - len(done)
    assert "no set of corpora has been trained on yet" in printed
    assert json.loads((out / "study.json").read_text())["finished"] is False

    trained = count_calls(monkeypatch, grid, "train_cell")
    benchmark.main(arguments(three, out))
    assert len(trained) == CELLS - len(done)
    assert runs_of(out) == runs_of(study)
    assert numbers(out) == numbers(study)


def test_sets_of_corpora_that_were_trained_are_not_trained_again(
    three: Folders, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "CPU_HEADS", 1)  # every set is a group
    original, trained = subsets.train_jobs, []

    def third_fails(*given: Any) -> Any:  # and what was begun before anybody saw it
        trained.append(given)
        if len(trained) >= 3:
            raise MemoryError
        return original(*given)

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr("os.cpu_count", lambda: 1)
        patched.setattr(subsets, "train_jobs", third_fails)
        with pytest.raises(MemoryError):
            benchmark.main(arguments(three, out))
    again = count_calls(monkeypatch, subsets, "train_jobs")
    benchmark.main(arguments(three, out))
    assert len(again) == SETS - 2
    assert len(of_table(out, "generalise-shapley")) == 3


def test_processes_share_a_study(three: Folders, study: Path, tmp_path: Path) -> None:
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, "-m", *launcher, "-m", "ser_generalize.benchmark"]
    argv = arguments(three, tmp_path / "out")
    done = subprocess.run(
        [*command, *argv], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("benchmark: the report is") == 1
    assert set(runs_of(tmp_path / "out")) == set(runs_of(study))
    found, whole = numbers(tmp_path / "out"), numbers(study)
    assert [row.value for row in found] == pytest.approx([row.value for row in whole], abs=1e-9)


def test_one_corpus_has_a_grid_and_no_generalisation(
    dataset: Path, store: Path, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark.main(arguments((dataset, store), tmp_path / "out", "--only", "grid", "generalise"))
    printed = capsys.readouterr().out
    assert "one corpus: there is no union to train on" in printed
    assert "this part needs two corpora and the study has one" in " ".join(printed.split())
    assert len(runs_of(tmp_path / "out")) == 4 * 3
    assert {row.corpus for row in numbers(tmp_path / "out")} == {"ravdess"}
    assert MACRO_AVERAGE not in {row.corpus for row in numbers(tmp_path / "out")}


def test_too_short_a_budget_trains_on_no_set_and_says_so(
    three: Folders, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark.main(arguments(three, tmp_path / "out", "--only", "generalise", "--budget", "0"))
    printed = " ".join(capsys.readouterr().out.split())
    assert "the budget of 0 minutes is too short for even a sample of the 6 sets" in printed
    assert not of_table(tmp_path / "out", "generalise-shapley")
    assert of_table(tmp_path / "out", "generalise-loco")


def test_corpora_that_can_take_no_part_are_left_out_and_named(
    dataset: Path, store: Path, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    changes: dict[str, Callable[[list[Row]], list[Row]]] = {
        "crowd": lambda rows: [row | {"speaker": None} for row in rows],
        "solo": lambda rows: [row for row in rows if row["speaker"].endswith("01")],
        "sulk": lambda rows: [row for row in rows if row["native_label"] == "sad"],
        "calm": lambda rows: [row for row in rows if row["native_label"] == "calm"],
        "abroad": lambda rows: [row | {"language": "de"} for row in rows],
        "other": lambda rows: rows,
    }
    folders = write_corpora(tmp_path, dataset, store, changes)
    benchmark.main(arguments(folders, tmp_path / "out"))
    printed = " ".join(capsys.readouterr().out.split())
    assert "corpus crowd takes no part: it names no speakers" in printed
    assert "corpus solo takes no part: it has a single speaker" in printed
    assert "corpus sulk takes no part: it has clips of one class only (sad)" in printed
    for name in ("calm", "abroad"):
        assert f"corpus {name} takes no part: no clip of it is in the label set four" in printed
    corpora = {row.corpus for row in of_table(tmp_path / "out", "generalise-loco")}
    assert corpora == {"other", "ravdess", MACRO_AVERAGE, "pooled"}


def without_a_clip(rows: list[Row]) -> list[Row]:
    return rows[1:]


def test_a_study_of_other_data_is_refused_by_name(
    three: Folders, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = change_dataset(three[0], tmp_path / "data", without_a_clip)
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*")}
    argv = arguments((changed, three[1]), study)
    assert run_command("benchmark", benchmark.main, argv) == 2
    error = capsys.readouterr().err
    assert f"--out {study} holds a study of other data (fingerprint " in error
    assert {path: path.stat().st_mtime_ns for path in study.rglob("*")} == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--only", "all"), f"unknown part 'all'; choose one of: {', '.join(PARTS)}"),
        (("--head", "big"), "unknown head 'big'; give hidden sizes"),
        (("--seeds", "0"), "--seeds 0 is no number of seeds; give 1 or more"),
        (("--budget", "nan"), "--budget nan is no number of minutes; give 0 or more"),
        (("--budget", "-1"), "--budget -1.0 is no number of minutes; give 0 or more"),
        (("--corpora", "nobody"), "has no corpus nobody; it holds: "),
        (("--languages", "fr"), "is in fr; choose --languages from: "),
        (("--embeddings", "nowhere"), "embedding store nowhere does not exist"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    options: tuple[str, ...], message: str, three: Folders, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    assert run_command("benchmark", benchmark.main, arguments(three, out, *options)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_store_is_given_once(
    three: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, store = three
    argv = ["--dataset", str(data), "--embeddings", str(store), str(store), "--out"]
    assert run_command("benchmark", benchmark.main, [*argv, str(tmp_path / "out")]) == 2
    assert f"--embeddings {store} is given more than once" in capsys.readouterr().err


def test_a_folder_that_is_no_study_is_left_alone(
    three: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    assert run_command("benchmark", benchmark.main, arguments(three, tmp_path)) == 2
    assert f"--out {tmp_path} exists and is no study; give a new folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_sample_of_the_sets_is_named_with_its_error(
    dataset: Path, store: Path, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("b", "c", "d", "e", "f")
    data, values = write_corpora(tmp_path, dataset, store, dict.fromkeys(names, lambda rows: rows))
    asked = Study(str(data), (values,), (*names, "ravdess"), 1, "8", budget=1.0)
    clips = 56 * 6 * 2**5 * 2  # each corpus is in half of the sets; two epochs
    monkeypatch.setattr(subsets, "clips_per_second", lambda *_: clips / 60 / 1.1)
    train_sets(asked, tmp_path / "sets")
    section = worth_section(asked, tmp_path / "sets", "generalise")
    assert any(
        note.startswith("5") and "of 62 sets were trained on" in note for note in section.notes
    )
    worth = [row for table in section.tables for row in table.rows if row.metric == "shapley"]
    assert len(worth) == 6 * 6
    assert all("standard error by sampling sets" in row.note for row in worth)


def test_a_report_refuses_runs_of_different_data_and_names_them(
    three: Folders, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = change_dataset(three[0], tmp_path / "data", without_a_clip)
    for name, data in (("one", three[0]), ("two", changed)):
        common = ["--dataset", str(data), "--embeddings", str(three[1]), "--head", "8"]
        train.main([*common, "--corpora", "ravdess", "other", "--out", str(tmp_path / name)])
    argv = [str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(tmp_path / "report")]
    assert run_command("report", report.main, argv) == 2
    error = capsys.readouterr().err
    assert "(one)' and '" in error
    assert "(two)' are of different data: corpus ravdess has fingerprint" in error
    assert not (tmp_path / "report").exists()


def test_all_parts_together_make_one_report(
    three: Folders, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No two of their tables or figures share a name, and each part has a section."""
    told: list[Section] = []

    def written(out: Path, study: Study, sections: Sequence[Section]) -> None:
        told.extend(sections)
        write_report(out, study, sections)

    monkeypatch.setattr(answer, "write_report", written)
    monkeypatch.setattr(study_report, "_draw", lambda _, figures: dict.fromkeys(figures, ""))
    benchmark.main(arguments(three, tmp_path / "out", "--corpora", "other", "ravdess"))
    assert {section.part for section in told} == {*PARTS, "study"}
    assert (tmp_path / "out" / "report" / "report.html").is_file()
    assert json.loads((tmp_path / "out" / "study.json").read_text())["finished"] is True
