"""The checkpoint's model: what it computes is what the library computes, with and without it."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from make_checkpoint import make_checkpoint, random_head, store_key
from make_encoder import change_config, sound, write_encoder
from safetensors.torch import load_file, save_file
from transformers import AutoModelForAudioClassification

from ser_generalize.checkpoint import CODE, load_checkpoint, read_encoder
from ser_generalize.configuration import CONCATENATED, SUMMED
from ser_generalize.encoder import Settings, load_encoder
from ser_generalize.errors import InputError
from ser_generalize.heads import clip_normalised
from ser_generalize.labels import FOUR
from ser_generalize.modeling import SerForAudioClassification, SerHead
from ser_generalize.predict import probabilities

LENGTHS = (1.3, 0.5, 3.217, 33.3)  # seconds; the last one takes two windows
SETTINGS = {
    "short": Settings(dtype="fp32"),
    "cut": Settings("cut", dtype="fp32"),
    "margin": Settings("cut", margin=0.3, dtype="fp32"),
    "some layers": Settings(layers=(0, 1), dtype="fp32"),
    "30s": Settings("30s", dtype="fp32"),
}


@pytest.fixture(scope="module")
def waves() -> list[np.ndarray]:
    return [sound(seconds, seed) for seed, seconds in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def checkpoint(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    return make_checkpoint(tiny_encoder, folder, calibration=1.7)


def features(model: SerForAudioClassification, waves: list[np.ndarray]) -> np.ndarray:
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = torch.zeros(len(waves), int(lengths.max()))
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    with torch.inference_mode():
        return model.features(padded, torch.arange(padded.shape[1]) < lengths[:, None]).numpy()


@pytest.mark.parametrize("name", SETTINGS)
def test_it_hears_what_the_encoder_hears(
    name: str, tiny_encoder: Path, waves: list[np.ndarray], tmp_path: Path
) -> None:
    encoder = load_encoder(str(tiny_encoder), SETTINGS[name])
    expected = clip_normalised(encoder.embed(waves))
    model = load_checkpoint(str(make_checkpoint(tiny_encoder, tmp_path / "c", SETTINGS[name])))
    np.testing.assert_allclose(features(model, waves), expected, atol=1e-4)


def test_a_real_whisper_is_heard_alike(
    shared: Path, waves: list[np.ndarray], tmp_path: Path
) -> None:
    folder = shared / "models" / "whisper-tiny.en"
    encoder = load_encoder(str(folder), Settings(dtype="fp32"))
    model = load_checkpoint(str(make_checkpoint(folder, tmp_path / "checkpoint")))
    expected = clip_normalised(encoder.embed(waves[:3]))
    np.testing.assert_allclose(features(model, waves[:3]), expected, atol=1e-3)


def test_its_head_is_that_of_the_folds() -> None:
    head = SerHead(3, 10, [8, 4], SUMMED)
    arrays = random_head(3, 10, 4)
    head.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    given = np.random.default_rng(1).normal(size=(5, 3, 10)).astype(np.float32)
    scores = np.exp(arrays["layer_scores"])
    hidden = np.einsum("l,clw->cw", scores / scores.sum(),
                       (given - arrays["mean"]) / arrays["deviation"])  # fmt: skip
    hidden = np.maximum(hidden @ arrays["linear.0.weight"].T + arrays["linear.0.bias"], 0)
    expected = hidden @ arrays["linear.1.weight"].T + arrays["linear.1.bias"]
    with torch.inference_mode():
        found = head(torch.from_numpy(given))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_linear_head_sees_all_layers_side_by_side() -> None:
    head = SerHead(3, 10, [4], CONCATENATED)
    weight, bias = head.linear[0].weight, head.linear[0].bias
    assert set(head.state_dict()) == {"mean", "deviation", "linear.0.weight", "linear.0.bias"}
    head.deviation.fill_(2)
    given = torch.randn(5, 3, 10)
    with torch.inference_mode():
        torch.testing.assert_close(head(given), given.flatten(1) / 2 @ weight.T + bias)


def test_company_changes_nothing(checkpoint: Path, waves: list[np.ndarray]) -> None:
    model = load_checkpoint(str(checkpoint))
    alone = np.concatenate([probabilities(model, [wave]) for wave in waves])
    np.testing.assert_allclose(probabilities(model, waves), alone, atol=1e-5)
    assert np.ptp(alone, axis=0).max() > 0.01, "the clips should not all sound alike"


def test_the_temperature_divides_the_logits(
    checkpoint: Path, tiny_encoder: Path, waves: list[np.ndarray], tmp_path: Path
) -> None:
    plain = load_checkpoint(str(make_checkpoint(tiny_encoder, tmp_path / "checkpoint")))
    warm = load_checkpoint(str(checkpoint))
    sample = torch.from_numpy(waves[0])[None]
    with torch.inference_mode():
        assert torch.allclose(warm(sample).logits * 1.7, plain(sample).logits, atol=1e-5)


def test_it_can_be_fine_tuned(checkpoint: Path, waves: list[np.ndarray]) -> None:
    model = load_checkpoint(str(checkpoint)).requires_grad_(True)
    model(torch.from_numpy(waves[1])[None], labels=torch.tensor([2])).loss.backward()
    for name in ("encoder.conv1.weight", "encoder.layers.0.fc1.weight", "head.layer_scores"):
        gradient = model.get_parameter(name).grad
        assert gradient is not None and gradient.abs().sum() > 0, name


PIPELINE = """
import sys
sys.modules["ser_generalize"] = None  # as where it is not installed
import numpy as np
from transformers import pipeline
folder, names = sys.argv[1], sys.argv[2].split(",")
with np.load(sys.argv[3]) as file:
    waves = [file[name] for name in sorted(file.files)]
classify = pipeline("audio-classification", model=folder, trust_remote_code=True)
rows = []
for size in (1, 4):
    for found in classify(waves, batch_size=size):
        chances = {one["label"]: one["score"] for one in found}
        rows.append([chances[name] for name in names])
np.save(sys.argv[4], rows)
"""


def test_a_pipeline_without_this_package_gives_the_same(
    checkpoint: Path, waves: list[np.ndarray], tmp_path: Path
) -> None:
    given, taken = tmp_path / "waves.npz", tmp_path / "found.npy"
    np.savez(given, **{f"w{number}": wave for number, wave in enumerate(waves)})
    command = [sys.executable, "-c", PIPELINE, checkpoint, ",".join(FOUR), given, taken]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = probabilities(load_checkpoint(str(checkpoint)), waves)
    np.testing.assert_allclose(np.load(taken), np.concatenate([expected] * 2), atol=1e-4)


def test_auto_classes_know_it_and_run_no_code_from_the_folder(
    checkpoint: Path, waves: list[np.ndarray]
) -> None:
    model = AutoModelForAudioClassification.from_pretrained(checkpoint)
    assert type(model) is SerForAudioClassification
    assert model.config.id2label == dict(enumerate(FOUR))
    with torch.inference_mode():
        logits = model.eval()(torch.from_numpy(waves[0])[None]).logits
    expected = probabilities(load_checkpoint(str(checkpoint)), waves[:1])
    np.testing.assert_allclose(logits.softmax(-1), expected, atol=1e-5)


def test_saved_again_by_transformers_it_is_the_same(
    checkpoint: Path, waves: list[np.ndarray], tmp_path: Path
) -> None:
    model = load_checkpoint(str(checkpoint))
    model.save_pretrained(tmp_path)
    again = load_checkpoint(str(tmp_path))
    assert (probabilities(again, waves[:1]) == probabilities(model, waves[:1])).all()


def test_the_folder_is_whole_and_stands_alone(checkpoint: Path) -> None:
    modules = {f"{module.__name__.rpartition('.')[2]}.py" for module in CODE}
    others = {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert {path.name for path in checkpoint.iterdir()} == modules | others
    for path in checkpoint.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert f"{node.module}.py" in modules
            elif isinstance(node, ast.Import | ast.ImportFrom):
                named = getattr(node, "module", None) or node.names[0].name
                assert not named.startswith("ser_generalize")
    preprocessor = json.loads((checkpoint / "preprocessor_config.json").read_text())
    assert preprocessor["feature_extractor_type"] == "Wav2Vec2FeatureExtractor"
    assert not preprocessor["do_normalize"] and preprocessor["return_attention_mask"]


@pytest.fixture
def damaged(checkpoint: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for path in checkpoint.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_weights_that_are_cut_short(damaged: Path) -> None:
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="is damaged"):
        load_checkpoint(str(damaged))


def test_weights_that_are_missing(damaged: Path) -> None:
    tensors = load_file(damaged / "model.safetensors")
    del tensors["head.layer_scores"]
    save_file(tensors, damaged / "model.safetensors")
    with pytest.raises(InputError, match=r"is damaged.*layer_scores"):
        load_checkpoint(str(damaged))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"hidden_sizes": [9]}, "do not belong together"),
        ({"hidden_sizes": "many"}, "do not belong together"),
        ({"whisper": {"d_model": 0}}, "no usable"),
        ({"model_type": "whisper"}, "is no checkpoint of this package"),
    ],
)
def test_a_config_of_something_else(damaged: Path, change: dict[str, object], line: str) -> None:
    change_config(damaged, **change)
    with pytest.raises(InputError, match=line):
        load_checkpoint(str(damaged))


def test_a_folder_that_is_none(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(InputError, match=r"no config.json and no model.safetensors"):
        load_checkpoint(str(tmp_path))
    with pytest.raises(InputError, match="is a run folder; give the checkpoint in it"):
        load_checkpoint(str(checkpoint.parent))
    with pytest.raises(InputError, match="neither a folder nor a Hub id"):
        load_checkpoint("no-such-folder")


def test_another_encoder_than_that_of_the_embeddings(tiny_encoder: Path, tmp_path: Path) -> None:
    key = store_key(load_encoder(str(tiny_encoder)))
    other = write_encoder(tmp_path / "other", positions=1000)
    with pytest.raises(InputError, match="is not what the embeddings were made with"):
        read_encoder(key, str(other))
