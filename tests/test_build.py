"""From a raw tree to a dataset that plain `datasets` loads: contents, duplicates, failures."""

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from datasets import Features
from huggingface_hub import DatasetCard
from make_trees import (
    ANGRY,
    CALM,
    EMODB,
    HAPPY,
    NEUTRAL,
    RAVDESS,
    SURPRISED,
    names,
    raw,
    record,
    rows,
    skipped,
    snapshot,
    stems,
)

from dataset_scripts import shards
from dataset_scripts.build import build, main
from ser_generalize.audio import pcm_sha256, read_pcm
from ser_generalize.command import run_command
from ser_generalize.errors import InputError
from ser_generalize.labels import EMOTIONS, FIVE, FOUR
from ser_generalize.schema import clip_features, clip_schema

# Runs in a Python that could not import this project if it tried.
PLAIN_DATASETS = """
import hashlib, importlib.abc, io, json, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {"ser_generalize", "dataset_scripts", "hub_cards"}:
            raise ImportError(name + " is not for users of the dataset")

sys.meta_path.insert(0, Refuse())
import soundfile
from datasets import Audio, get_dataset_config_names, load_dataset

folder, config = sys.argv[1:]

def row(clip):
    audio = clip.pop("audio")
    pcm, rate = soundfile.read(io.BytesIO(audio["bytes"]), dtype="int16")
    heard = hashlib.sha256(pcm.astype("<i2").tobytes()).hexdigest()
    return {**clip, "heard": heard, "rate": rate, "shape": pcm.shape, "path": audio["path"]}

def read(*config, **how):
    clips = load_dataset(folder, *config, split="train", **how)
    undecoded = clips.cast_column("audio", Audio(decode=False))
    return clips.features.to_dict(), [row(clip) for clip in undecoded]

features, rows = read(config)
json.dump({
    "features": features,
    "rows": rows,
    "streamed": read(config, streaming=True)[1],
    "default": [clip["clip_id"] for clip in read()[1]],
    "configs": get_dataset_config_names(folder),
}, sys.stdout)
"""


def metadata(out: Path) -> dict[str, Any]:
    return DatasetCard.load(out / "README.md").data.to_dict()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder with two corpora."""
    base = tmp_path_factory.mktemp("two")
    build("ravdess", raw(base / "ravdess", RAVDESS), base / "data")
    record(base / "emodb" / "wav" / "03a02Nc.wav", 99, rate=48_000)
    build("emodb", raw(base / "emodb", EMODB, seed=50), base / "data")
    return base / "data"


@pytest.fixture(scope="module")
def plain(built: Path) -> dict[str, Any]:
    """What a Python that knows `datasets` and nothing of this project reads from it."""
    command = [sys.executable, "-I", "-c", PLAIN_DATASETS, str(built), "ravdess"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=built.parent)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_plain_datasets_reads_the_columns_of_a_clip(plain: dict[str, Any]) -> None:
    assert Features.from_dict(plain["features"]) == clip_features()
    assert clip_schema().equals(clip_features().arrow_schema, check_metadata=True)
    assert plain["features"]["audio"]["_type"] == "Audio"
    assert plain["features"]["audio"]["sampling_rate"] == 16_000
    found = {name: plain["features"][name]["names"] for name in ("emotion", "label4", "label5")}
    assert found == {"emotion": list(EMOTIONS), "label4": list(FOUR), "label5": list(FIVE)}


def test_plain_datasets_reads_every_corpus_and_all_together(plain: dict[str, Any]) -> None:
    assert plain["configs"] == ["emodb", "ravdess", "default", "folds"]
    assert [row["clip_id"] for row in plain["rows"]] == [f"ravdess/{n}" for n in stems(*RAVDESS)]
    emodb = [f"emodb/{n}" for n in stems("03a02Nc", *EMODB)]
    assert plain["default"] == emodb + [f"ravdess/{n}" for n in stems(*RAVDESS)]
    assert plain["streamed"] == plain["rows"]


def test_labels_outside_a_set_are_null_and_fold_into_nothing(plain: dict[str, Any]) -> None:
    labels = {
        row["native_label"]: [
            None if row[column] is None else plain["features"][column]["names"][row[column]]
            for column in ("emotion", "label4", "label5")
        ]
        for row in plain["rows"]
    }
    assert labels == {
        "neutral": ["neutral", "neutral", "neutral"],
        "calm": ["calm", None, None],
        "happy": ["happy", "happy", "happy"],
        "angry": ["angry", "angry", "angry"],
        "surprised": ["surprised", None, "surprised"],
    }


def test_the_bytes_are_the_recording_and_the_hash_is_of_what_is_heard(
    plain: dict[str, Any], built: Path
) -> None:
    sources = {path.stem: path for path in (built.parent / "ravdess").rglob("*.wav")}
    for row in plain["rows"]:
        pcm, _ = soundfile.read(sources[Path(row["path"]).stem], dtype="int16")
        assert row["heard"] == row["sha256"] == pcm_sha256(pcm)
        assert (row["rate"], row["shape"]) == (16_000, [3_200])


def test_a_row_says_all_that_is_known_of_the_clip(built: Path) -> None:
    row = next(row for row in rows(built) if row["native_label"] == "angry")
    audio, digest = row.pop("audio"), row.pop("sha256")
    assert audio["path"] == "03-01-05-02-02-01-01.flac"
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert row == {
        "clip_id": "ravdess/03-01-05-02-02-01-01", "corpus": "ravdess",
        "emotion": EMOTIONS.index("angry"), "label4": FOUR.index("angry"),
        "label5": FIVE.index("angry"), "native_label": "angry", "label_source": "acted",
        "votes": [], "speaker": "ravdess:01", "sex": "male", "age": None, "language": "en",
        "text_id": "ravdess:02", "transcript": "Dogs are sitting by the door.",
        "intensity": "strong", "elicitation": "acted", "vocalisation": "speech", "session": None,
        "official_split": None, "duration": 0.2, "source_sampling_rate": 16_000,
        "licence": "CC-BY-NC-SA-4.0",
    }  # fmt: skip


def test_the_source_s_rate_is_kept_beside_16_khz_audio(built: Path) -> None:
    found = {row["clip_id"]: row for row in rows(built, "emodb")}
    row = found["emodb/03a02Nc"]
    assert row["source_sampling_rate"] == 48_000
    assert {row["source_sampling_rate"] for row in found.values()} == {16_000, 48_000}
    pcm, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="int16")
    assert (rate, len(pcm) / 16_000) == (16_000, row["duration"])
    assert (row["age"], row["speaker"]) == (31, "emodb:03")


def test_another_corpus_adds_its_config_and_keeps_the_first(tmp_path: Path) -> None:
    out = tmp_path / "data"
    build("ravdess", raw(tmp_path / "ravdess", RAVDESS), out)
    names_of = [config["config_name"] for config in metadata(out)["configs"]]
    assert names_of == ["ravdess", "default", "folds"]
    first = snapshot(out / "ravdess")
    build("emodb", raw(tmp_path / "emodb", EMODB, seed=50), out)
    assert snapshot(out / "ravdess") == first
    assert names(out, "emodb") == stems(*EMODB)
    configs = metadata(out)["configs"]
    assert len({config.pop("description") for config in configs}) == 4  # see `card._digest`
    assert configs == [
        {"config_name": "emodb", "data_files": "emodb/*.parquet"},
        {"config_name": "ravdess", "data_files": "ravdess/*.parquet"},
        {"config_name": "default", "default": True,
         "data_files": ["emodb/*.parquet", "ravdess/*.parquet"]},
        {"config_name": "folds", "data_files": "folds/*.parquet"},
    ]  # fmt: skip


def test_building_again_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, source = tmp_path / "data", raw(tmp_path / "raw", RAVDESS)
    build("ravdess", source, out)
    once = snapshot(out)
    monkeypatch.setattr(shards, "SHARD_BYTES", 1)  # a shard for every clip
    build("ravdess", source, out)
    assert len(list((out / "ravdess").glob("*-of-00005.parquet"))) == 5
    assert names(out) == stems(*RAVDESS)
    monkeypatch.undo()
    build("ravdess", source, out)
    assert snapshot(out) == once
    (source / CALM).unlink()
    build("ravdess", source, out)
    assert names(out) == stems(NEUTRAL, ANGRY, SURPRISED, HAPPY)
    assert re.search(r"\| calm \| calm \| 0 \| 192 \|", (out / "README.md").read_text())


def test_the_same_corpus_gives_the_same_bytes_wherever_it_lies(tmp_path: Path) -> None:
    bad = {"Actor_02/03-01-04-01-01-01-02.wav": b"no audio", "Actor_02/x.txt": b""}
    sources = tmp_path / "here", tmp_path / "there" / "deep"
    for source, files in zip(sources, (RAVDESS, RAVDESS[::-1]), strict=True):
        for file in files:
            record(source / file, RAVDESS.index(file))
        for file, content in bad.items():
            (source / file).write_bytes(content)
        build("ravdess", source, source.parent / "out" / source.name)
    first, second = (snapshot(source.parent / "out" / source.name) for source in sources)
    assert first == second


def test_a_recording_held_twice_is_kept_once(tmp_path: Path) -> None:
    source = raw(tmp_path / "raw", RAVDESS)
    shutil.copytree(source, source / "audio_speech_actors_01-24")  # as Kaggle's copy does
    repetition = "Actor_01/03-01-05-02-02-02-01.wav"
    shutil.copy(source / ANGRY, source / repetition)
    clips, left_out = build("ravdess", source, tmp_path / "data")
    assert (clips, len(left_out)) == (5, 6)
    assert names(tmp_path / "data") == stems(*RAVDESS)
    reasons = skipped(tmp_path / "data")
    assert reasons[repetition] == f"the same recording as ravdess/{Path(ANGRY).stem}"
    assert set(reasons) == {repetition, *(f"audio_speech_actors_01-24/{f}" for f in RAVDESS)}


def test_one_recording_under_two_labels_or_speakers_is_dropped(tmp_path: Path) -> None:
    source = raw(tmp_path / "raw", RAVDESS)
    sad, other_actor = "Actor_01/03-01-04-02-02-01-01.wav", "Actor_04/03-01-08-01-01-02-04.wav"
    shutil.copy(source / ANGRY, source / sad)
    (source / "Actor_04").mkdir()
    shutil.copy(source / SURPRISED, source / other_actor)
    clips, left_out = build("ravdess", source, tmp_path / "data")
    assert (clips, len(left_out)) == (3, 4)
    assert names(tmp_path / "data") == stems(NEUTRAL, CALM, HAPPY)
    reasons = skipped(tmp_path / "data")
    assert reasons.keys() == {ANGRY, sad, SURPRISED, other_actor}
    assert reasons[sad] == reasons[ANGRY]
    for claim in ("native label", f"{Path(sad).stem}: sad", f"{Path(ANGRY).stem}: angry"):
        assert claim in reasons[sad]
    for claim in ("speaker", "ravdess:02", "ravdess:04"):
        assert claim in reasons[other_actor]


def test_of_two_recordings_with_one_name_the_first_is_kept(tmp_path: Path) -> None:
    source = raw(tmp_path / "raw", RAVDESS)
    record(source / "copy" / HAPPY, 77)
    clips, _ = build("ravdess", source, tmp_path / "data")
    assert clips == 5
    name = f"ravdess/{Path(HAPPY).stem}"
    assert skipped(tmp_path / "data") == {
        f"copy/{HAPPY}": f"another recording is called {name} too"
    }
    kept = next(row for row in rows(tmp_path / "data") if row["clip_id"] == name)
    assert kept["sha256"] == pcm_sha256(read_pcm(source / HAPPY)[0])


@pytest.mark.parametrize("earlier", [True, False], ids=["over an earlier build", "the first build"])
@pytest.mark.parametrize("step", ["shards.pq.ParquetWriter", "dataset.summarise", "dataset.render"])
@pytest.mark.parametrize(
    ("failure", "code", "says"),
    [
        (OSError(28, "No space left on device"), 2, "cannot write {out} (No space left on device)"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=["disk full", "Ctrl-C"],
)
def test_a_build_that_fails_changes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    earlier: bool,
    step: str,
    failure: BaseException,
    code: int,
    says: str,
) -> None:
    source, out = raw(tmp_path / "raw", RAVDESS), tmp_path / "data"
    if earlier:
        build("ravdess", source, out)
    record(source / "Actor_03/03-01-07-01-01-01-03.wav", 60)
    before = snapshot(tmp_path)

    def fail(*args: object, **options: object) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(f"dataset_scripts.{step}", fail)
        arguments = ["ravdess", "--source", str(source), "--out", str(out)]
        assert run_command("build", main, arguments) == code
    assert says.format(out=out) in capsys.readouterr().err.splitlines()[-1]
    kept = tmp_path / "data" / ".ravdess.parts"  # what was read is not read again
    assert len(list(kept.iterdir())) == 1
    shutil.rmtree(kept)
    if not earlier:
        out.rmdir()
    assert snapshot(tmp_path) == before
    assert build("ravdess", source, out)[0] == 6, "and the next one goes through"


def test_a_file_that_cannot_be_read_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = raw(tmp_path / "raw", RAVDESS)
    read_bytes = Path.read_bytes

    def denied(path: Path) -> bytes:
        if path.name == Path(CALM).name:
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", denied)
    clips, _ = build("ravdess", source, tmp_path / "data")
    assert clips == 4
    assert skipped(tmp_path / "data") == {CALM: "cannot be read (Permission denied)"}


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    out = tmp_path_factory.mktemp("real") / "data"

    def built(corpus: str) -> Path:
        if not (out / corpus).is_dir():
            build(corpus, shared / "corpora" / corpus, out)
        return out

    return built


def test_real_ravdess(shared: Path, real: Callable[[str], Path]) -> None:
    out = real("ravdess")
    clips = rows(out)
    assert len(clips) == 719
    (path,) = skipped(out)
    assert path.endswith("03-01-03-01-02-02-07.wav")
    assert Counter(clip["speaker"] for clip in clips) == {
        f"ravdess:{actor:02}": 60 - (actor == 7) for actor in range(1, 13)
    }
    published = (shared / "manifests" / "ravdess.tsv").read_text().splitlines()[1:]
    originals = dict(line.split("\t") for line in published)
    as_published = {
        path.stem
        for path in (shared / "corpora" / "ravdess").rglob("*.wav")
        if hashlib.sha256(path.read_bytes()).hexdigest()
        == originals[f"{path.parent.name}/{path.name}"]
    }
    at_48_khz = {c["clip_id"][8:] for c in clips if c["source_sampling_rate"] == 48_000}
    assert len(as_published) == 60
    assert at_48_khz == as_published, "actor 01; the others were resampled before we had them"
    assert 2.5 < min(clip["duration"] for clip in clips) < max(c["duration"] for c in clips) < 5.5


def test_real_emodb(shared: Path, real: Callable[[str], Path]) -> None:
    out = real("emodb")
    assert len(names(out, "emodb")) == 535
    assert skipped(out, "emodb") == {}
    for row in rows(out, "emodb")[::50]:
        path = shared / "corpora" / "emodb" / "wav" / f"{row['clip_id'][6:]}.wav"
        pcm, _ = soundfile.read(path, dtype="int16")
        stored, _ = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="int16")
        np.testing.assert_array_equal(stored, pcm)


def test_fabricated_speech_never_passes_for_the_corpus(raw_ravdess, dataset):
    clips = rows(dataset)
    assert {clip["elicitation"] for clip in clips} == {"synthetic"}
    assert {clip["licence"] for clip in clips} == {"CC0-1.0"}
    card = (dataset / "README.md").read_text()
    assert "No human speech" in card and "Fabricated speech in the layout of RAVDESS" in card
    assert "Livingstone" not in card and "CC-BY-NC-SA" not in card


def test_the_raw_corpus_is_no_place_for_the_dataset(tmp_path: Path) -> None:
    source = raw(tmp_path / "raw", RAVDESS)
    before = snapshot(source)
    with pytest.raises(InputError, match="is no part of the raw corpus"):
        build("ravdess", source, source)
    assert snapshot(source) == before
