"""`train --tune --report-to`: what every tracker is told, and what is said where none starts."""

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_finetune import arguments, curves, refused

from ser_generalize import train
from ser_generalize.tuning.folds import PROJECT

TUNE = ("--tune", "lora", "--tune-epochs", "1", "--report-to")
BLOCK = 32768  # bytes


@pytest.fixture
def argv(dataset: Path, store: Path, tiny_encoder: Path, tmp_path: Path) -> list[str]:
    """Arguments that fine-tune four folds into the folder `run`; the tracker's name is missing."""
    return arguments(dataset, store, tiny_encoder, tmp_path / "run", *TUNE)


def test_tensorboard_hears_of_every_step(argv: list[str], tmp_path: Path) -> None:
    train.main([*argv, "tensorboard"])
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tuning" / PROJECT)).Reload()
    for curve in curves(tmp_path / "run"):
        for name, values in heard_of(curve).items():
            found = [one.value for one in events.Scalars(name)]
            np.testing.assert_allclose(found, values, rtol=1e-6)


def test_trackio_hears_of_every_step(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    monkeypatch.delenv("TRACKIO_SPACE_ID", raising=False)
    pytest.importorskip("trackio", reason="needs the extra `trackio`")
    train.main([*argv, "trackio"])
    asked = ["query", "project", "--project", PROJECT, "--json", "--sql"]
    sql = "select metrics from metrics where run_name = 'run' order by step"
    door = [sys.executable, "-c", "from trackio.cli import main; main()", *asked, sql]
    done = subprocess.run(door, check=True, capture_output=True, text=True)
    steps = [json.loads(row["metrics"]) for row in json.loads(done.stdout)["rows"]]
    for curve in curves(tmp_path / "run"):
        for name, values in heard_of(curve).items():
            assert [step[name] for step in steps if name in step] == pytest.approx(values)


@pytest.fixture
def wandb_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What wandb takes from the environment, and takes anew: it remembers it for a process."""
    wandb = pytest.importorskip("wandb", reason="needs the extra `wandb`")
    wandb.teardown()
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_API_KEY", "too short to be one")
    yield
    wandb.teardown()


@pytest.mark.usefixtures("wandb_settings")
def test_wandb_hears_of_every_step(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    train.main([*argv, "wandb"])
    pytest.importorskip("wandb").teardown()  # its own process may still be writing
    (file,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    records = [Record.FromString(one) for one in records_of(file)]
    runs = [record.run for record in records if record.HasField("run")]
    assert (runs[-1].project, runs[-1].display_name) == (PROJECT, "run")
    steps = [
        {"".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    for curve in curves(tmp_path / "run"):
        for name, values in heard_of(curve).items():
            assert [step[name] for step in steps if name in step] == pytest.approx(values)


@pytest.mark.usefixtures("wandb_settings")
def test_without_a_login_wandb_says_so_in_a_line(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("WANDB_MODE", "online")
    complaint = "--report-to wandb does not start: WANDB_API_KEY invalid"
    refused([*argv, "wandb"], complaint, tmp_path / "run", capsys)


def heard_of(curve: dict[str, Any]) -> dict[str, list[float]]:
    """Return what a tracker hears of a fold, by the names that it hears it under."""
    name = f"{curve['fold']}/{curve['seed']}"
    return {
        f"{name}/step": [*range(1, curve["step"] + 1)],
        f"{name}/loss": curve["losses"],
        f"{name}/validation loss": curve["validation"],  # before the first step, after the epoch
    }


def records_of(file: Path) -> Iterator[bytes]:
    """Yield the records of wandb's file: LevelDB's log format, after a header of 7 bytes."""
    data, at, record = file.read_bytes(), 7, b""
    while at < len(data):
        if (left := BLOCK - at % BLOCK) < 7:  # no header fits
            at += left
            continue
        length, kind = struct.unpack_from("<4xHB", data, at)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""
