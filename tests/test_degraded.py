"""Degraded recordings: stores made of them, and heads trained on others that are tested on them."""

from pathlib import Path

import numpy as np
import pytest
from make_dataset import few, rows_of
from make_encoder import assert_close
from make_runs import contents, trained
from make_store import clip_keys, embeddings, write_store

from ser_generalize.audio import decode_clip
from ser_generalize.benchmark.part import Study
from ser_generalize.benchmark.pictures import draw
from ser_generalize.benchmark.robustness import ROBUSTNESS, _gain_findings
from ser_generalize.benchmark.rows import score_rows
from ser_generalize.benchmark.sections import DIFFERENCE, Row
from ser_generalize.degradation import parse_degradation
from ser_generalize.embed import embed
from ser_generalize.embeddings import read_embeddings, read_manifest, write_manifest
from ser_generalize.encoder import Settings, load_encoder
from ser_generalize.errors import InputError
from ser_generalize.experiment import run_cell
from ser_generalize.predictions import read_predictions

FP32 = Settings(dtype="fp32")
NOISE = "noise:0"  # of the fixture `noisy`


def run(dataset: Path, store: Path, out: Path, *more: object) -> bytes:
    return contents(trained(dataset, store, out, *map(str, more)))


def test_clips_are_degraded_before_they_are_embedded(
    noisy: Path, dataset: Path, tiny_encoder: Path
) -> None:
    rows = rows_of(dataset)[:6]
    encoder = load_encoder(str(tiny_encoder), FP32)
    audio = [decode_clip(row["audio"]["bytes"]) for row in rows]
    heard = [
        parse_degradation(NOISE)(one, row["clip_id"]) for row, one in zip(rows, audio, strict=True)
    ]
    expected = np.concatenate([encoder.embed([wave]) for wave in heard])
    assert_close(read_embeddings(noisy, *clip_keys(rows))[1], expected, 1e-3)  # of float16
    assert read_manifest(noisy)[0].degradation == NOISE


def test_workers_make_the_same_store(
    noisy: Path, dataset: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "store"
    embed(str(dataset), str(tiny_encoder), other, settings=FP32, degradation=NOISE, workers=2)
    for path in noisy.glob("[!.]*"):
        assert (other / path.name).read_bytes() == path.read_bytes()


def test_a_store_holds_one_degradation(store: Path, dataset: Path, tiny_encoder: Path) -> None:
    with pytest.raises(InputError, match=r"degradation none.*not of.*degradation gain:-20"):
        embed(str(dataset), str(tiny_encoder), store, settings=FP32, degradation="gain:-20")
    with pytest.raises(InputError, match="unknown --degrade 'hum'; give none or one of"):
        embed(str(dataset), str(tiny_encoder), store, degradation="hum")


@pytest.mark.parametrize("head", ["8", "logistic"])
def test_heads_tested_on_equal_embeddings_say_the_same(
    head: str, dataset: Path, store: Path, tmp_path: Path
) -> None:
    rows = rows_of(dataset)
    copy = write_store(tmp_path / "copy", rows, embeddings(rows, store), like=store)
    usual = run(dataset, store, tmp_path / "usual", "--head", head)
    tested = run(dataset, store, tmp_path / "run", "--head", head, "--test-embeddings", copy)
    assert usual == tested


@pytest.mark.parametrize("head", ["8", "lda"])
def test_tested_embeddings_that_are_no_numbers_are_refused(
    head: str, dataset: Path, store: Path, tmp_path: Path
) -> None:
    rows = rows_of(dataset)
    values = embeddings(rows, store).copy()
    values[next(n for n, row in enumerate(rows) if row["label4"] is not None)] = np.nan
    bad = write_store(tmp_path / "bad", rows, values, like=store)
    with pytest.raises(InputError, match="predicts what is not a number: look for embeddings of"):
        run(dataset, store, tmp_path / "run", "--head", head, "--test-embeddings", bad)


def test_heads_are_trained_on_good_recordings_and_tested_on_bad_ones(
    dataset: Path, store: Path, noisy: Path, tmp_path: Path
) -> None:
    run(dataset, store, tmp_path / "clean", "--head", "logistic")
    run(dataset, store, tmp_path / "noisy", "--head", "logistic", "--test-embeddings", noisy)
    clean, tested = (read_predictions(tmp_path / name) for name in ("clean", "noisy"))
    assert (clean.about.degraded, tested.about.degraded) == ("none", NOISE)
    assert NOISE in tested.about.run and NOISE not in clean.about.run
    assert clean.column("clip_id").tolist() == tested.column("clip_id").tolist()
    assert np.abs(clean.probabilities() - tested.probabilities()).max() > 0.05


def test_what_is_tested_on_differs_in_its_degradation_only(
    dataset: Path, store: Path, noisy: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "fewer"
    embed(str(dataset), str(tiny_encoder), other, settings=Settings(dtype="fp32", layers=(0,)))
    with pytest.raises(InputError, match=r"fewer holds embeddings of .* \(layers \(0,\)\)"):
        run(dataset, store, tmp_path / "run", "--test-embeddings", other)
    with pytest.raises(InputError, match="nothing does not exist"):
        run(dataset, store, tmp_path / "run", "--test-embeddings", tmp_path / "nothing")
    with pytest.raises(InputError, match="--test-embeddings is for --adapt none, not speaker"):
        run(dataset, store, tmp_path / "run", "--test-embeddings", noisy, "--adapt", "speaker")
    with pytest.raises(InputError, match="leave out --test-embeddings"):
        run(dataset, store, tmp_path / "run", "--test-embeddings", noisy, "--final")
    assert not (tmp_path / "run").exists()


def test_the_part_compares_every_degraded_store_with_the_first(
    dataset: Path, store: Path, noisy: Path, tmp_path: Path
) -> None:
    study = Study(str(dataset), (store, noisy), ("ravdess",), 1, "logistic")
    asked = ROBUSTNESS.cells(study)
    assert [cell.test_embeddings for cell in asked] == [None, noisy]
    run(dataset, store, tmp_path / "0", "--head", "logistic")
    run(dataset, store, tmp_path / "1", "--head", "logistic", "--test-embeddings", noisy)
    runs = {cell: read_predictions(tmp_path / str(index)) for index, cell in enumerate(asked)}
    section, alone = ROBUSTNESS.sections(study, runs, tmp_path)
    assert "two kinds" in alone.notes[0] and not alone.tables
    scores, costs = section.tables
    assert [row.setting for row in scores.rows] == ["as recorded", NOISE]
    assert costs.rows[0].value == pytest.approx(scores.rows[1].value - scores.rows[0].value)
    assert costs.rows[0].low is not None and costs.rows[0].p is not None
    assert section.findings and "telephone" in section.notes[0] and "noise" not in section.notes[0]
    (empty,) = ROBUSTNESS.sections(
        Study(str(dataset), (store,), ("ravdess",), 1, "8"), {}, tmp_path
    )
    assert "embed --degrade" in empty.notes[-1] and not empty.tables


def test_scores_over_severity_are_drawn(
    dataset: Path, store: Path, noisy: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    some, mild = few(dataset, tmp_path / "some", 2), tmp_path / "mild"
    embed(str(some), str(tiny_encoder), mild, settings=FP32, degradation="noise:20")
    study = Study(str(dataset), (store, noisy, mild), ("ravdess",), 1, "logistic")
    run(dataset, store, tmp_path / "run", "--head", "logistic")
    plain = read_predictions(tmp_path / "run")
    runs = dict.fromkeys(ROBUSTNESS.cells(study), plain)
    section, _ = ROBUSTNESS.sections(study, runs, tmp_path)
    costs, curve = section.figures
    assert [row.setting for row in curve.rows] == [NOISE, "noise:20"]
    assert not any("costs" in finding for finding in section.findings)
    for figure in (costs, curve):
        assert draw(figure)[0].startswith(b"<?xml")


def test_a_clip_that_one_of_both_stores_lacks_is_left_out(
    dataset: Path, store: Path, noisy: Path, tmp_path: Path
) -> None:
    rows = [row for row in rows_of(dataset) if row["label4"] is not None]
    lost, kept = rows[0], rows[1:]
    other = write_store(tmp_path / "other", kept, embeddings(kept, noisy), like=noisy)
    write_manifest(other, read_manifest(noisy)[0], [{"clip_id": lost["clip_id"], "reason": "why"}])
    run(dataset, store, tmp_path / "run", "--head", "logistic", "--test-embeddings", other)
    found = read_predictions(tmp_path / "run")
    assert set(found.column("clip_id")) == {row["clip_id"] for row in kept}
    said = "1 clips have no embedding in every store given and were left out"
    assert said in found.about.notes


def test_what_training_on_worse_recordings_is_worth_is_asked_of_other_kinds(
    dataset: Path, store: Path, noisy: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    mild, far = tmp_path / "mild", tmp_path / "far"
    for folder, degradation in ((mild, "noise:20"), (far, "telephone")):
        embed(str(dataset), str(tiny_encoder), folder, settings=FP32, degradation=degradation)
    study = Study(str(dataset), (store, far, noisy, mild), ("ravdess",), 1, "logistic")
    asked = {(cell.test_embeddings, cell.augment): cell for cell in ROBUSTNESS.cells(study)}
    assert set(asked) == {
        *((tested, ()) for tested in (None, noisy, mild, far)),
        *((tested, (far,)) for tested in (noisy, mild)),  # nothing of their own kind
        (far, (noisy, mild)),
        (None, (noisy, mild, far)),
    }
    runs = {}
    for number, cell in enumerate(ROBUSTNESS.cells(study)):
        run_cell(cell, tmp_path / str(number))
        runs[cell] = read_predictions(tmp_path / str(number))
    _, section = ROBUSTNESS.sections(study, runs, tmp_path)
    scores, gains = section.tables
    assert [row.setting for row in scores.rows] == ["as recorded", NOISE, "noise:20", "telephone"]
    plain = score_rows("", "", runs[asked[far, ()]])[0].value
    assert gains.rows[-1].value == pytest.approx(scores.rows[-1].value - plain)
    assert gains.rows[-1].low is not None and gains.rows[-1].p is not None
    assert draw(section.figures[0])[0].startswith(b"<?xml")
    _, waiting = ROBUSTNESS.sections(study, {study.cell(): runs[study.cell()]}, tmp_path)
    assert waiting.notes == ["not run yet"]


def test_gains_and_losses_are_told_apart() -> None:
    changes = {"as recorded": -0.02, NOISE: 0.3, "telephone": -0.1, "opus:12": 0.0}
    rows = [
        Row("", "", value, "ravdess", setting=name, kind=DIFFERENCE, low=value - margin,
            high=value + margin, speakers=9, p=p, p_adjusted=p)
        for name, value in changes.items()
        for margin, p in [(0.01, 0.001) if value else (0.01, 1.0)]
    ]  # fmt: skip
    assert _gain_findings(rows) == [
        "tested on noise (0 dB of SNR), training on recordings that are worse in other ways is "
        "worth +30.0 (+29.0 to +31.0; 9 speakers; p = .001) points",
        "tested on telephone, training on recordings that are worse in other ways is worth −10.0 "
        "(−11.0 to −9.0; 9 speakers; p = .001) points",
        "tested on recordings as they are, training on recordings that are worse in any way is "
        "worth −2.0 (−3.0 to −1.0; 9 speakers; p = .001) points",
        "tested on opus (12 kbit/s), it cannot be told from not doing so",
    ]
