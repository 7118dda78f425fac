"""`train --tune` end to end: what a run folder holds whatever came between, what is refused."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from make_checkpoint import random_head
from make_dataset import change_dataset
from make_runs import SPEAKERS, launch
from make_tuning import CPU
from watching import wait_for

from ser_generalize import train
from ser_generalize.audio import decode_clip
from ser_generalize.cell import Cell
from ser_generalize.checkpoint import load_checkpoint
from ser_generalize.command import run_command
from ser_generalize.data import read_data, read_features
from ser_generalize.dataset import load_clips
from ser_generalize.embed import embed
from ser_generalize.encoder import Settings
from ser_generalize.groups import Material
from ser_generalize.predict import probabilities
from ser_generalize.predictions import FILE_NAME, read_predictions
from ser_generalize.tuning import folds
from ser_generalize.tuning.folds import NOT_TUNED
from ser_generalize.tuning.model import pad_waves

TUNE = ("--tune", "full", "--tune-epochs", "2")


def arguments(
    dataset: Path, store: Path, encoder: Path, out: Path, *options: str, head: str = "8"
) -> list[str]:
    folders = ["--dataset", str(dataset), "--embeddings", str(store), "--out", str(out)]
    return [*folders, "--encoder", str(encoder), "--head", head, *options]


def curves(out: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((out / "tuning").glob("*.json"))]


@pytest.fixture(scope="module")
def tuned(
    dataset: Path, store: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run that nothing happened to; all epochs, so that it is certainly tuned."""
    out = tmp_path_factory.mktemp("runs") / "tuned"
    train.main(arguments(dataset, store, tiny_encoder, out, *TUNE, "--stop", "fixed"))
    return out


def test_a_tuned_run_says_so_wherever_it_is_shown(tuned: Path) -> None:
    found = read_predictions(tuned)
    about, cell = found.about, json.loads((tuned / "config.json").read_text())["cell"]
    assert (about.tune, about.tune_epochs) == ("full", 2)
    assert (cell["tune"], cell["tune_recipe"]["epochs"]) == ("full", 2)
    assert "tuned-full" in about.run
    assert list(found.column("fold")) == list(found.column("speaker"))
    np.testing.assert_allclose(found.probabilities().sum(axis=1), 1, atol=1e-5)


def test_the_run_folder_holds_the_loss_curve_of_every_fold(tuned: Path) -> None:
    assert [curve["fold"] for curve in curves(tuned)] == SPEAKERS
    assert all(len(curve["losses"]) == curve["step"] == 6 for curve in curves(tuned))
    assert not list((tuned / "tuning").glob("*.safetensors"))


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_where_validation_says_so_the_frozen_head_is_the_result(
    dataset: Path, store: Path, tiny_encoder: Path, tmp_path: Path, mode: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Fine-tuning starts from what the frozen run says, and can only be chosen over it."""
    ruinous = {"learning_rate": 30.0, "head_learning_rate": 30.0}
    recipes = {mode: folds.TuneRecipe(**ruinous, epochs=1)}
    monkeypatch.setattr("ser_generalize.cell.RECIPES", recipes)
    smote = ("--sampler", "smote")
    train.main(arguments(dataset, store, tiny_encoder, tmp_path / "b", *smote, "--tune", mode))
    folders = ["--dataset", str(dataset), "--embeddings", str(store), "--out", str(tmp_path / "a")]
    train.main([*folders, "--head", "8", *smote, "--stop", "early"])
    frozen, found = read_predictions(tmp_path / "a"), read_predictions(tmp_path / "b")
    assert found.about.tune_epochs == 0
    assert f"4 of 4 folds: {NOT_TUNED}" in found.about.notes
    np.testing.assert_array_equal(frozen.column("clip_id"), found.column("clip_id"))
    # The store holds embeddings in float16; nothing else is different.
    np.testing.assert_allclose(found.probabilities(), frozen.probabilities(), atol=5e-3)
    np.testing.assert_array_equal(
        found.probabilities().argmax(axis=1), frozen.probabilities().argmax(axis=1)
    )


def test_a_killed_run_ends_with_the_same_loss_curve_and_bytes(
    tuned: Path, dataset: Path, store: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    argv = arguments(dataset, store, tiny_encoder, out, *TUNE, "--stop", "fixed")
    door = (
        "from ser_generalize.tuning import loop; from ser_generalize import cli; "
        "loop.SAVE_SECONDS = 0; cli.main()"  # after every step
    )
    states = out / "tuning"
    with subprocess.Popen([sys.executable, "-c", door, "train", *argv]) as started:
        wait_for(lambda: any(states.glob("*.safetensors")) or started.poll() is not None)
        started.kill()
    assert list(states.glob("*.safetensors"))
    assert not (out / FILE_NAME).exists()
    train.main(argv)
    assert curves(out) == curves(tuned)
    assert (out / FILE_NAME).read_bytes() == (tuned / FILE_NAME).read_bytes()


def test_two_processes_share_the_folds_and_agree_with_one(
    tuned: Path, dataset: Path, store: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    argv = arguments(dataset, store, tiny_encoder, tmp_path / "run", *TUNE, "--stop", "fixed")
    done = launch("torchrun", argv)
    assert done.returncode == 0, done.stderr
    assert curves(tmp_path / "run") == curves(tuned)
    assert (tmp_path / "run" / FILE_NAME).read_bytes() == (tuned / FILE_NAME).read_bytes()


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_a_tuned_checkpoint_is_loaded_like_any_other(
    dataset: Path, store: Path, tiny_encoder: Path, tmp_path: Path, mode: str
) -> None:
    options = ("--tune", mode, "--tune-epochs", "1", "--stop", "fixed", "--final")
    train.main(arguments(dataset, store, tiny_encoder, tmp_path / "run", *options))
    folder = tmp_path / "run" / "checkpoint"
    assert json.loads((folder / "config.json").read_text())["training"]["tune"] == mode
    assert "fine-tuned" in (folder / "README.md").read_text()
    model = load_checkpoint(str(folder))
    folders = ["--dataset", str(dataset), "--embeddings", str(store), "--head", "8", "--final"]
    frozen = [*folders, "--encoder", str(tiny_encoder), "--out", str(tmp_path / "frozen")]
    train.main(frozen)
    start = load_checkpoint(str(tmp_path / "frozen" / "checkpoint"))
    tuned_weights, weights = model.state_dict(), start.state_dict()
    assert tuned_weights.keys() == weights.keys()
    name = "encoder.layers.0.fc1.weight"
    assert 0 < (tuned_weights[name] - weights[name]).abs().max() < 1e-2
    assert torch.equal(tuned_weights["head.deviation"], weights["head.deviation"])
    (wave, *_) = [decode_clip(row["audio"]["bytes"]) for row in load_clips(str(dataset), None)]
    difference = np.abs(probabilities(model, [wave]) - probabilities(start, [wave])).max()
    assert 1e-7 < difference < 0.3


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--tune", "some"], "unknown --tune 'some'; choose one of: none, full, lora"),
        (
            ["--tune", "full", "--tune-epochs", "0"],
            "--tune-epochs 0 is no number of epochs; give 1 or more",
        ),
        (["--tune", "full", "--head", "logistic"], "--tune full is for heads that are trained in"),
        (["--tune", "full", "--adapt", "speaker"], "--adapt speaker is for heads on a frozen"),
        (["--tune", "full", "--layers", "1"], "--layers is for heads on a frozen encoder"),
        (["--tune", "full", "--pooling", "mean"], "--pooling mean is for heads on a frozen"),
        (["--tune", "full", "--micro-batch", "3"], "choose one of: 2, 4, 8, 16"),
        (["--tune", "full", "--report-to", "paper"], "one of: tensorboard, trackio, wandb"),
        (["--tune", "full", "--report-to", "wandb"], "pip install 'ser-generalize[wandb]'"),
        (["--report-to", "tensorboard"], "--report-to is for fine-tuning; add --tune full or lora"),
        (["--tune", "lora"], "pip install 'ser-generalize[tune]'"),
        (["--tune", "full", "--encoder", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    dataset: Path, store: Path, tiny_encoder: Path, tmp_path: Path, options: list[str],
    complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    found = importlib.util.find_spec

    def without(name: str, *given: str) -> object:
        return None if name in {"peft", "wandb"} else found(name, *given)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    argv = arguments(dataset, store, tiny_encoder, tmp_path / "run", *options)
    refused(argv, complaint, tmp_path / "run", capsys)


def refused(argv: list[str], complaint: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("train", train.main, argv) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_a_dataset_without_audio_is_refused(
    dataset: Path, store: Path, tiny_encoder: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    silent = change_dataset(
        dataset,
        tmp_path / "silent",
        lambda rows: [row | {"audio": {"bytes": b"", "path": None}} for row in rows],
    )
    argv = arguments(silent, store, tiny_encoder, tmp_path / "run", *TUNE)
    refused(argv, "holds none of their audio", tmp_path / "run", capsys)


@pytest.mark.parametrize("encoder", ["eGeMAPSv02", "logmel"])
def test_embeddings_of_another_kind_are_refused(
    dataset: Path, tmp_path: Path, encoder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if encoder == "eGeMAPSv02":
        pytest.importorskip("opensmile")
    store = tmp_path / "store"
    embed(str(dataset), encoder, store, settings=Settings())
    capsys.readouterr()
    folders = ["--dataset", str(dataset), "--embeddings", str(store), "--head", "8", *TUNE]
    argv = [*folders, "--out", str(tmp_path / "run")]
    refused(argv, f"for Whisper encoders, which {encoder} is not", tmp_path / "run", capsys)


@pytest.mark.parametrize("degradation", ["none", "noise:10"])
def test_the_encoder_that_is_tuned_begins_with_the_embeddings_of_the_store(
    dataset: Path, tiny_encoder: Path, tmp_path: Path, degradation: str
) -> None:
    store = tmp_path / "store"
    settings = Settings(dtype="fp32")
    embed(str(dataset), str(tiny_encoder), store, settings=settings, degradation=degradation)
    cell = Cell(str(dataset), store, tune="full", head="8")
    data = read_data(cell)
    material = Material(cell, data, read_features(cell, data), CPU)
    tuner = folds.make_tuner(material, folds.Setup(str(tiny_encoder)), tmp_path)
    rows = np.arange(len(data.labels))[::5]
    start = tuner.make_model(random_head(3, 64, 4))
    found = start.features(*pad_waves(tuner.waves(rows), CPU))
    # The store holds half floats.
    np.testing.assert_allclose(found.detach().numpy(), material.features[rows], atol=5e-3)
