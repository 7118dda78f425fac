"""What was published, read by plain `datasets` in processes that know nothing of this project."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hub_server import READER, WRITER, Hub, serving_hub
from make_trees import EMODB, TWO_ACTORS, raw, rows

from dataset_scripts.build import build

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

def row(clip):
    audio = clip.pop("audio")
    pcm, rate = soundfile.read(io.BytesIO(audio["bytes"]), dtype="int16")
    return {**clip, "heard": hashlib.sha256(pcm.astype("<i2").tobytes()).hexdigest(), "rate": rate}

def read(*which, **how):
    clips = load_dataset(*which, split="train", **how)
    return [row(clip) for clip in clips.cast_column("audio", Audio(decode=False))]

repo, corpus = sys.argv[1:]
found = {"configs": get_dataset_config_names(repo), "rows": read(repo, corpus)}
found["streamed"] = read(repo, corpus, streaming=True)
found["default"] = read(repo)
if "folds" in found["configs"]:
    found["folds"] = list(load_dataset(repo, "folds", split="train"))
json.dump(found, sys.stdout)
"""

DOWNLOAD = """
import sys
from huggingface_hub import hf_hub_download
hf_hub_download(*sys.argv[1:], repo_type="dataset")
"""

LOAD_CLIPS = """
import json, sys
from ser_generalize.dataset import load_clips
from ser_generalize.errors import InputError
try:
    print(json.dumps(sorted(load_clips(sys.argv[1])["sha256"])))
except InputError as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("to-load")
    build("ravdess", raw(base / "ravdess", TWO_ACTORS), base / "data")
    build("emodb", raw(base / "emodb", EMODB, seed=500), base / "data")
    return base / "data"


@pytest.fixture(scope="module")
def published(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A Hub to which the command published that folder: RAVDESS in public, EmoDB gated."""
    with serving_hub() as hub:
        command = [sys.executable, "-m", "dataset_scripts.publish", str(built), "--repo", "org/ser"]
        home = tmp_path_factory.mktemp("writer")
        done = subprocess.run(
            command, env=hub.environment(WRITER, home), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert WRITER not in done.stdout + done.stderr
        yield hub


def ran(
    hub: Hub, token: str | None, home: Path, *command: str
) -> "subprocess.CompletedProcess[str]":
    environment = hub.environment(token, home)
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True
    )


def loaded(hub: Hub, token: str | None, home: Path, repo: str, corpus: str) -> dict[str, Any]:
    done = ran(hub, token, home, "-I", "-c", PLAIN_DATASETS, repo, corpus)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def heard(built: Path, corpus: str) -> list[dict[str, Any]]:
    """Return the rows of a corpus on this disk, as the other process says them."""
    clips = rows(built, corpus)
    return [
        {name: value for name, value in clip.items() if name != "audio"}
        | {"heard": clip["sha256"], "rate": 16_000}
        for clip in clips
    ]


def test_a_stranger_loads_what_is_public(published: Hub, built: Path, tmp_path: Path) -> None:
    found = loaded(published, None, tmp_path, "org/ser", "ravdess")
    assert found["rows"] == found["streamed"] == found["default"] == heard(built, "ravdess")
    assert found["configs"] == ["ravdess", "default", "folds"]
    assert found["folds"] == pq.read_table(built / "folds" / "ravdess.parquet").to_pylist()
    tested = [row for row in found["folds"] if (row["protocol"], row["part"]) == ("loso", "test")]
    assert len(tested) == sum(len(labels) for labels in _inside(found["rows"]))


def _inside(clips: list[dict[str, Any]]) -> list[list[Any]]:
    """Return the labels that are there, by column: every one of them is tested once."""
    columns = ("label4", "label5", "native_label")
    return [[clip[name] for clip in clips if clip[name] is not None] for name in columns]


def test_the_gated_repository_is_for_those_who_accepted_its_terms(
    published: Hub, built: Path, tmp_path: Path
) -> None:
    refused = ran(published, READER, tmp_path, "-I", "-c", DOWNLOAD, "org/ser-gated", "README.md")
    assert refused.returncode != 0 and "gated" in refused.stderr and READER not in refused.stderr
    published.repository("dataset", "org/ser-gated").readers.add(READER)
    found = loaded(published, READER, tmp_path, "org/ser-gated", "emodb")
    assert found["rows"] == found["streamed"] == found["default"] == heard(built, "emodb")


def test_this_package_loads_it_by_its_id(published: Hub, built: Path, tmp_path: Path) -> None:
    done = ran(published, None, tmp_path, "-c", LOAD_CLIPS, "org/ser")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == sorted(clip["sha256"] for clip in rows(built, "ravdess"))


def test_a_hub_that_does_not_answer_is_not_asked_again_and_again(tmp_path: Path) -> None:
    with serving_hub() as hub:
        hub.fail("GET", "/api/datasets/org/ser", cut=0)
        done = ran(hub, None, tmp_path, "-c", LOAD_CLIPS, "org/ser")
        asked = [request for request in hub.requests if "org/ser" in request.path]
    assert "neither a folder nor reachable on the Hub" in done.stdout and done.stderr == ""
    assert len(asked) == 1


def test_the_command_shows_no_token_even_where_the_client_logs_everything(
    built: Path, tmp_path: Path
) -> None:
    with serving_hub() as hub:
        hub.fail("POST", "/commit/", 403, message=f"this token may not write: {WRITER}")
        environment = hub.environment(WRITER, tmp_path) | {"HF_DEBUG": "1"}
        command = [sys.executable, "-m", "dataset_scripts.publish", str(built), "--repo", "org/ser"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "curl" in done.stderr
    assert WRITER not in done.stdout + done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("publish: org/ser-gated: the Hub answered 403 (this token may not write")
