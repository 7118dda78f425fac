"""`train --final` end to end: the checkpoint, its card and its way to the Hub and back."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from hub_server import Hub
from make_dataset import rows_of
from make_store import write_two_corpora
from scipy.special import softmax

from ser_generalize import predict, push, train
from ser_generalize.audio import decode_clip
from ser_generalize.calibration import calibrate_predictions
from ser_generalize.cell import Cell
from ser_generalize.checkpoint import load_checkpoint
from ser_generalize.command import run_command
from ser_generalize.data import read_data, read_features
from ser_generalize.dataset import load_clips
from ser_generalize.errors import InputError
from ser_generalize.final import plan_final, write_final
from ser_generalize.heads import LINEAR
from ser_generalize.labels import FOUR
from ser_generalize.linear import train_linear
from ser_generalize.mixture import Mixture
from ser_generalize.model_card import eval_results
from ser_generalize.predictions import FILE_NAME, read_predictions, write_predictions
from ser_generalize.summary import read_runs
from ser_generalize.training import Job

REPO = "org/ser-four"


def arguments(dataset: Path, store: Path, out: Path, encoder: Path, *options: str) -> list[str]:
    folders = ["--dataset", str(dataset), "--embeddings", str(store), "--out", str(out)]
    return [*folders, "--head", "32", "--final", "--encoder", str(encoder), *options]


@pytest.fixture(scope="module")
def run(
    dataset: Path, store: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("runs") / "final"
    train.main(arguments(dataset, store, out, tiny_encoder, "--stop", "early"))
    return out


@pytest.fixture
def checkpoint(run: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint to change."""
    return shutil.copytree(run / "checkpoint", tmp_path / "checkpoint")


def training(checkpoint: Path) -> dict:
    return json.loads((checkpoint / "config.json").read_text())["training"]


def change_corpora(checkpoint: Path, corpora: dict) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config["training"]["corpora"] = corpora
    (checkpoint / "config.json").write_text(json.dumps(config))


def held(name: str, licence: str) -> dict[str, dict]:
    return {name: {"clips": 5, "speakers": 2, "languages": ["en"], "elicitation": ["acted"],
                   "licences": [licence]}}  # fmt: skip


def test_it_has_learnt_the_clips_it_was_fitted_on(dataset: Path, run: Path) -> None:
    model = load_checkpoint(str(run / "checkpoint"))
    rows = [row for row in load_clips(str(dataset), None) if row["label4"] is not None]
    waves = [decode_clip(row["audio"]["bytes"]) for row in rows]
    found = np.concatenate([predict.probabilities(model, [wave]) for wave in waves])
    labels = np.array([row["label4"] for row in rows])
    right = (found.argmax(1) == labels).mean()
    folds = read_predictions(run)
    unheard = (folds.probabilities().argmax(1) == folds.labels()).mean()
    assert right > max(0.6, unheard)


def test_what_it_was_fitted_with_comes_from_the_folds(run: Path) -> None:
    predictions = read_predictions(run)
    config = json.loads((run / "checkpoint" / "config.json").read_text())
    about, found = predictions.about, calibrate_predictions(predictions)
    assert 0 < about.epochs <= 60
    assert config["training"]["epochs"] == about.epochs
    assert config["calibration"] == pytest.approx(found.temperature * about.temperature)
    assert config["abstain_below"] == (found.abstention and found.abstention.below)
    assert [config["id2label"][str(number)] for number in range(4)] == list(FOUR)


def test_the_folds_epochs_and_temperatures_count(
    run: Path, dataset: Path, store: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    before = load_checkpoint(str(folder / "checkpoint"))
    predictions = read_predictions(folder)
    stopped = replace(predictions.about, epochs=7, temperature=2 * predictions.about.temperature)
    write_predictions(folder / FILE_NAME, replace(predictions, about=stopped))
    cell = Cell(str(dataset), store, head="32")
    after = load_checkpoint(str(write_final(plan_final(cell, str(tiny_encoder)), folder)))
    assert after.config.training["epochs"] == 7
    assert after.config.calibration == pytest.approx(2 * before.config.calibration)
    weights = [model.head.linear[0].weight for model in (before, after)]
    assert weights[0].shape == weights[1].shape and not torch.allclose(*weights)


def test_again_it_is_the_same(
    run: Path, dataset: Path, store: Path, tiny_encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in (run / "checkpoint").iterdir()}
    train.main(arguments(dataset, store, run, tiny_encoder, "--stop", "early"))
    assert "is done already" in capsys.readouterr().out
    after = {path.name: path.read_bytes() for path in (run / "checkpoint").iterdir()}
    assert after == before


CARD = r"""---
language:
- en
library_name: transformers
license: cc0-1\.0
pipeline_tag: audio-classification
tags:
(- .*\n)+model-index:
- name: ser-generalize four tiny-random
  results:
  - task:
      type: audio-classification
      name: Speech emotion recognition
    dataset:
      name: ravdess, 4 classes, protocol loso
      type: ravdess
      split: loso
    metrics:
    - type: uar
      value: [\d.]+
      name: UAR, % \(95 % interval [\d.]+ to [\d.]+\)
---

# Speech emotion recognition: neutral, happy, sad, angry

> \*\*FABRICATED TRAINING DATA: ravdess\.\*\* This model never heard a human voice\.(.*\n)+
## How to load it
(.*\n)+
## How well it travels

Protocol `loso`: leave one speaker out: .*
(.*\n)+\| ravdess \| 56 \| 4 \| [\d.]+ \([\d.]+ to [\d.]+\) \| .*
(.*\n)+\| neutral \(8\) \| \d+ \| \d+ \| \d+ \| \d+ \|
(.*\n)+## How far to trust its probabilities

The logits are divided by \d\.\d{3} \((.*\n)+!\[Accuracy against confidence\]\(reliability\.png\)
(.*\n)+## What it was trained on
(.*\n)+\| ravdess \| 56 \| 4 \| en \| synthetic \| CC0-1\.0 \|

\*\*Licence: cc0-1\.0\*\*(.*\n)+## What it is for, and what not
(.*\n)+"""


def test_the_card_says_it_all(run: Path) -> None:
    card = (run / "checkpoint" / "README.md").read_text()
    assert re.fullmatch(CARD, card), card
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert "fabricated-training-data" in metadata["tags"]
    (result,) = metadata["model-index"][0]["results"]
    scores = json.loads((run / "metrics.json").read_text())["corpora"]["ravdess"]
    assert result["metrics"][0]["value"] == pytest.approx(100 * scores["uar"], abs=0.01)
    for word in ("hiring", "policing", "medical", "lie detection", "EU AI Act"):
        assert word in card
    assert (run / "checkpoint" / "reliability.png").read_bytes()[:4] == b"\x89PNG"


def test_it_predicts_a_file(
    run: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "clip.flac"
    clip.write_bytes(rows_of(dataset)[0]["audio"]["bytes"])
    assert run_command("predict", predict.main, [str(run / "checkpoint"), str(clip), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert soundfile.info(clip).duration == pytest.approx(found["end"], abs=0.01)


def pushed(checkpoint: Path, *options: str) -> None:
    push.main([str(checkpoint), REPO, *options])


def test_fabricated_speech_goes_to_a_private_repository(hub: Hub, checkpoint: Path) -> None:
    with pytest.raises(InputError, match="ravdess may only go into a private repository"):
        pushed(checkpoint)
    assert hub.requests == []
    pushed(checkpoint, "--private")
    repository = hub.repository("model", REPO)
    assert repository.private and len(repository.commits) == 2
    files = {path: blob.data for path, blob in repository.head.files.items()}
    card = files.pop("README.md").decode()
    assert f'model="{REPO}"' in card and "PATH_OR_ID" not in card
    for path in checkpoint.iterdir():
        assert path.name == "README.md" or files[path.name] == path.read_bytes()
    hub.requests.clear()
    pushed(checkpoint, "--private")
    assert hub.writes == []


def test_it_is_loaded_from_the_hub(hub: Hub, checkpoint: Path) -> None:
    pushed(checkpoint, "--private")
    wave = 0.1 * np.random.default_rng(0).normal(size=8000).astype(np.float32)
    here, there = (load_checkpoint(name) for name in (str(checkpoint), REPO))
    assert (predict.probabilities(there, [wave]) == predict.probabilities(here, [wave])).all()


@pytest.mark.parametrize(
    ("corpora", "options", "refused"),
    [
        (held("ravdess", "CC-BY-NC-SA-4.0"), [], None),
        (held("emodb", "LicenseRef-EmoDB-free-with-attribution"), [], "emodb may only go into a"),
        (held("emodb", "LicenseRef-EmoDB-free-with-attribution"), ["--gated"], None),
        (held("savee", "LicenseRef-SAVEE-research-only"), ["--gated"], "savee may only go into a"),
        (held("mine", "CC0-1.0"), [], "mine may only go into a private"),
        (held("ravdess", "CC0-1.0"), [], "ravdess may only go into a private"),
    ],
)
def test_the_terms_of_its_corpora_bind_it(
    hub: Hub, checkpoint: Path, corpora: dict, options: list[str], refused: str | None
) -> None:
    change_corpora(checkpoint, corpora)
    if refused is None:
        pushed(checkpoint, *options)
        assert "model.safetensors" in hub.repository("model", REPO).head.files
        return
    with pytest.raises(InputError, match=refused):
        pushed(checkpoint, *options)
    assert hub.requests == []


def test_what_is_no_checkpoint_is_not_pushed(hub: Hub, run: Path, tmp_path: Path) -> None:
    for path, line in (
        (run, "is a run folder; give the checkpoint in it"),
        (tmp_path, "no checkpoint"),
    ):
        with pytest.raises(InputError, match=line):
            pushed(path)
    assert hub.requests == []


MISTAKES = {
    "an error rate of all": (["--error-rate", "1"], "is no share of answers"),
    "folds that leak": (["--protocol", "random"], "protocol random does not judge"),
    "an unknown encoder": (["--encoder", "no-such-folder"], "neither a folder nor a Hub id"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_said_before_anything_is_trained(
    name: str, dataset: Path, store: Path, tiny_encoder: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    options, line = MISTAKES[name]
    argv = arguments(dataset, store, tmp_path / "run", tiny_encoder, *options)
    assert run_command("train", train.main, argv) == 2
    printed = capsys.readouterr().err
    assert line in printed and printed.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("head", LINEAR)
def test_a_linear_head_is_kept_as_it_was_fitted(
    head: str, dataset: Path, store: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    train.main(arguments(dataset, store, tmp_path / "run", tiny_encoder, "--head", head))
    model = load_checkpoint(str(tmp_path / "run" / "checkpoint"))
    cell = Cell(str(dataset), store, head=head)
    data = read_data(cell)
    rows, real = np.arange(len(data.labels)), np.zeros(len(data.labels), np.float32)
    mixture = Mixture(rows, rows, real, data.labels, data.labels)
    job = Job("everybody", 0, mixture, rows, rows, rows[:0])
    expected = train_linear(head, read_features(cell, data), job, len(data.classes)).logits
    audio = {row["clip_id"]: row["audio"]["bytes"] for row in load_clips(str(dataset), None)}
    waves = [decode_clip(audio[name]) for name in data.column("clip_id")[:20]]
    found = np.concatenate([predict.probabilities(model, [wave]) for wave in waves])
    expected = softmax(expected[:20] / model.config.calibration, axis=1)
    np.testing.assert_allclose(found, expected, atol=0.02)  # of embeddings kept in float16
    card = (tmp_path / "run" / "checkpoint" / "README.md").read_text()
    assert "a linear head judges what all of its layers say" in card and "epochs" not in card


def test_several_corpora_are_judged_together(
    dataset: Path, store: Path, tiny_encoder: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    data, values = write_two_corpora(tmp_path, dataset, store)
    argv = arguments(data, values, tmp_path / "run", tiny_encoder)
    assert run_command("train", train.main, argv) == 2
    assert "add --train-on union" in capsys.readouterr().err
    train.main([*argv, "--train-on", "union"])
    assert set(training(tmp_path / "run" / "checkpoint")["corpora"]) == {"other", "ravdess"}
    card = (tmp_path / "run" / "checkpoint" / "README.md").read_text()
    assert re.search(r"^\| macro-average \| 112 \| 8 \|", card, re.MULTILINE)


def test_results_of_a_dataset_of_the_hub_are_there_for_its_leaderboard(run: Path) -> None:
    (judged,) = read_runs([run])
    described = training(run / "checkpoint")
    assert eval_results(judged, described) is None  # of a local folder nobody keeps one
    text = eval_results(judged, described | {"dataset_id": "org/ser-11"})
    (entry,) = yaml.safe_load(text or "")
    assert entry["dataset"] == {"id": "org/ser-11", "task_id": "ravdess_four_loso"}
    assert entry["value"] == pytest.approx(100 * judged.results[0].estimates["uar"].value, abs=0.01)
    assert "95 % interval" in entry["notes"] and "protocol loso" in entry["notes"]


def test_a_checkpoint_that_may_be_told_of_its_speaker_says_by_what_it_was_judged(
    dataset: Path, store: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    train.main(arguments(dataset, store, out, tiny_encoder, "--adapt", "speaker:2"))
    assert training(out / "checkpoint")["adapt"] == "speaker-adapted by 2 clips"
    card = (out / "checkpoint" / "README.md").read_text()
    assert card.count("speaker-adapted by 2 clips") >= 2  # the scores' metadata, and a note


@pytest.mark.parametrize("adaptation", ["speaker", "corpus"])
def test_nobody_who_uses_a_checkpoint_knows_all_clips(
    adaptation: str, dataset: Path, store: Path, tmp_path: Path
) -> None:
    cell = Cell(str(dataset), store, adapt=adaptation)
    with pytest.raises(InputError, match=f"--adapt {adaptation} .* speaker:0"):
        plan_final(cell)
