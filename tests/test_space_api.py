"""The endpoint, with the clients that it is documented for: many at once, and what is refused."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from listening import read_recording
from make_checkpoint import make_checkpoint
from make_encoder import RATE, sound
from make_space import OpenSpace, open_space
from uploads import used_once

from ser_generalize.checkpoint import load_checkpoint
from ser_generalize.errors import InputError
from ser_generalize.predict import predict_file

CLIENTS = 50
ABOUT = Path(__file__).parents[1] / "space" / "about.md"


@pytest.fixture(scope="module")
def checkpoint(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tiny_encoder, tmp_path_factory.mktemp("runs") / "smote" / "checkpoint")


@pytest.fixture(scope="module")
def space(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSpace]:
    with open_space(tmp_path_factory.mktemp("space"), [checkpoint]) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(space: OpenSpace) -> Client:
    return Client(space.url, verbose=False)


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    """Five clips, no two of which sound alike."""
    paths = [tmp_path / f"{seed}.wav" for seed in range(5)]
    for seed, path in enumerate(paths):
        soundfile.write(path, sound(1.0, seed), RATE)
    return paths


def expected(checkpoint: Path, clip: Path) -> dict[str, float]:
    (found,) = predict_file(load_checkpoint(str(checkpoint)), clip, None, None)
    assert found.probabilities is not None
    return found.probabilities


def ask(client: Client, path: Path, checkpoint: str = "") -> Any:
    return client.predict(handle_file(str(path)), checkpoint, api_name="/predict")


def test_it_answers_as_predict_does_and_keeps_nothing(
    space: OpenSpace, client: Client, checkpoint: Path, clips: list[Path]
) -> None:
    found = ask(client, clips[0], "smote")
    assert found["probabilities"] == pytest.approx(expected(checkpoint, clips[0]), abs=1e-3)
    assert found["checkpoint"] == "smote" and found["timeline"] == []
    assert found == ask(client, clips[0])
    assert space.left() == []


def test_many_clients_at_once_get_their_own_answers(
    space: OpenSpace, checkpoint: Path, clips: list[Path]
) -> None:
    """Ten of them send the same file, whose uploads must not be one another's."""
    clients = [Client(space.url, verbose=False) for _ in range(CLIENTS)]
    sent = [clips[number % len(clips)] for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        found = list(pool.map(ask, clients, sent))
    right = {clip: expected(checkpoint, clip) for clip in clips}
    for clip, answer in zip(sent, found, strict=True):
        assert answer["probabilities"] == pytest.approx(right[clip], abs=1e-3)
    assert space.left() == []


@pytest.mark.parametrize("checkpoint_name", ["../smote", "evil/model", "/etc"])
def test_a_checkpoint_that_is_not_offered_is_refused(
    space: OpenSpace, client: Client, clips: list[Path], checkpoint_name: str
) -> None:
    with pytest.raises(AppError, match="is not among the checkpoints offered here"):
        ask(client, clips[0], checkpoint_name)
    assert space.left() == []


def test_what_is_no_audio_is_refused_in_a_sentence(
    space: OpenSpace, client: Client, tmp_path: Path
) -> None:
    notes = tmp_path / "notes.wav"
    notes.write_text("Dear diary")
    with pytest.raises(AppError) as caught:
        ask(client, notes)
    said = str(caught.value)
    assert said.startswith("notes.wav cannot be listened to: ") and said.endswith("m4a.")
    assert str(space.uploads) not in said and "Traceback" not in said
    assert space.left() == []


def test_no_recording_is_said_so(client: Client) -> None:
    with pytest.raises(AppError, match="No recording was given"):
        client.predict(None, "", api_name="/predict")


def test_uploads_are_deleted_where_one_of_them_is_bad(tmp_path: Path, clips: list[Path]) -> None:
    paths = [tmp_path / "a" / "1.wav", tmp_path / "b" / "notes.txt", tmp_path / "c" / "2.wav"]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(clips[0].read_bytes() if path.suffix == ".wav" else b"Dear diary")
    with pytest.raises(InputError, match=r"^notes.txt cannot"), used_once(*map(str, paths)) as all_:
        [read_recording(path) for path in all_]
    assert not any(path.parent.exists() for path in paths)


def post(space: OpenSpace, data: list[Any]) -> str:
    """Ask without a client's checks; return the stream of the answer."""
    address = f"{space.url}gradio_api/call/predict"
    event = httpx.post(address, json={"data": data}).json()["event_id"]
    return httpx.get(f"{address}/{event}", timeout=60).text


def test_a_file_that_was_not_uploaded_is_not_read(space: OpenSpace, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    soundfile.write(secret, sound(1.0), RATE)
    said = post(space, [{"path": str(secret), "meta": {"_type": "gradio.FileData"}}, ""])
    assert "event: error" in said and "probabilities" not in said
    assert secret.is_file()  # nor deleted


def test_only_the_endpoint_is_public(space: OpenSpace) -> None:
    info = httpx.get(f"{space.url}gradio_api/info").json()
    assert list(info["named_endpoints"]) == ["/predict"] and not info["unnamed_endpoints"]
    assert [one["parameter_name"] for one in info["named_endpoints"]["/predict"]["parameters"]] == [
        "recording", "checkpoint",
    ]  # fmt: skip


def test_the_curl_commands_of_the_page_work(space: OpenSpace, clips: list[Path]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    (commands,) = re.findall(r"```bash\n(.*?)```", ABOUT.read_text("utf-8"), re.S)
    commands = commands.replace("http://127.0.0.1:7860", space.url.rstrip("/"))
    commands = commands.replace("clip.wav", str(clips[0]))
    done = subprocess.run(["bash", "-euc", commands], capture_output=True, text=True, timeout=60)
    found = json.loads(done.stdout.partition("data: ")[2].splitlines()[0])
    assert found[0]["checkpoint"] == "smote" and space.left() == []


def test_the_python_of_the_page_works(space: OpenSpace, clips: list[Path]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", ABOUT.read_text("utf-8"), re.S)
    asked = re.search(r"client\.predict\((.*)\)", code)
    assert asked is not None and asked[1] == 'handle_file("clip.wav"), "", api_name="/predict"'
    promised = set(re.findall(r"'(\w+)': [^,]", code)) - {"neutral", "happy"}
    found = ask(Client(space.url, verbose=False), clips[0])
    assert promised == set(found)
