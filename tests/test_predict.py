"""`predict` on files, folders and long recordings, and on what is no audio."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from make_checkpoint import make_checkpoint
from make_encoder import RATE, sound
from test_mp4 import mp4, tones

from ser_generalize import adapt, predict, recordings
from ser_generalize.checkpoint import load_checkpoint
from ser_generalize.command import run_command
from ser_generalize.heads import Scaler
from ser_generalize.labels import FOUR

TOO_SURE = 0.9999


@pytest.fixture(scope="module")
def checkpoint(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tiny_encoder, tmp_path_factory.mktemp("made") / "checkpoint")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write(tmp_path / "clip.wav", sound(1.5))


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


def run(*arguments: object) -> int:
    return run_command("ser-generalize predict", predict.main, [str(one) for one in arguments])


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_clip_is_one_line_of_json(
    checkpoint: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint, clip, "--json") == 0
    (found,) = lines(capsys)
    samples, _ = soundfile.read(clip, dtype="float32")
    expected = predict.probabilities(load_checkpoint(str(checkpoint)), [samples])[0]
    assert list(found["probabilities"]) == list(FOUR)
    np.testing.assert_allclose(list(found["probabilities"].values()), expected, atol=1e-5)
    assert found["emotion"] == FOUR[expected.argmax()]
    assert (found["file"], found["start"], found["end"]) == (str(clip), 0.0, 1.5)


def test_without_json_it_is_a_table(
    checkpoint: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint, clip) == 0
    row = capsys.readouterr().out
    assert re.fullmatch(rf" +0\.0 +1\.5  (\w+) .*{re.escape(str(clip))}\n", row)
    assert all(re.search(rf"\b{name} +\d+%", row) for name in FOUR)


def test_other_rates_and_channels_are_heard_alike(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    time = np.arange(2 * 48_000) / 48_000
    wave = 0.3 * np.sin(2 * np.pi * (200 + 60 * np.sin(5 * time)) * time)
    files = [
        write(tmp_path / "stereo.flac", np.stack([wave, wave], axis=1), 48_000),
        write(tmp_path / "mono.wav", wave[::3]),
    ]
    assert run(checkpoint, *files, "--json") == 0
    first, second = (list(one["probabilities"].values()) for one in lines(capsys))
    np.testing.assert_allclose(first, second, atol=0.05)


def test_a_folder_is_its_audio_sorted(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("b/two.wav", "a.flac", ".hidden/x.wav", "b/._two.wav"):
        write(tmp_path / name, sound(0.5))
    (tmp_path / "notes.txt").write_text("no audio")
    assert run(checkpoint, tmp_path, "--json") == 0
    names = [one["file"] for one in lines(capsys)]
    assert names == [str(tmp_path / "a.flac"), str(tmp_path / "b" / "two.wav")]


def test_what_cannot_be_read_is_named_and_the_rest_is_predicted(
    checkpoint: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise, gone = clip.with_name("noise.wav"), clip.with_name("gone.wav")
    noise.write_bytes(b"this is no audio")
    silent = write(clip.with_name("silent.wav"), np.zeros(RATE))
    assert run(checkpoint, noise, gone, silent, clip, "--json") == 2
    printed = capsys.readouterr()
    assert [json.loads(line)["file"] for line in printed.out.splitlines()] == [str(clip)]
    said = printed.err.splitlines()
    assert len(said) == 4
    for line, (path, why) in zip(
        said, ((noise, "decode"), (gone, "No such file"), (silent, "silent")), strict=False
    ):
        assert str(path) in line and why in line
    assert said[-1].endswith("3 of 4 files were not predicted, see above")


def test_a_long_recording_in_windows(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wave = sound(7.0)
    wave[2 * RATE : 4 * RATE] = 0
    path = write(tmp_path / "long.wav", wave)
    assert run(checkpoint, path, "--window", 2, "--json") == 0
    found = lines(capsys)
    assert [(one["start"], one["end"]) for one in found] == [(0, 2), (2, 4), (4, 6), (6, 7)]
    assert found[1]["emotion"] is None and found[1]["probabilities"] is None
    samples, _ = soundfile.read(path, dtype="float32")
    cut = [samples[: 2 * RATE], samples[4 * RATE : 6 * RATE], samples[6 * RATE :]]
    expected = predict.probabilities(load_checkpoint(str(checkpoint)), cut)
    heard = [list(found[index]["probabilities"].values()) for index in (0, 2, 3)]
    np.testing.assert_allclose(heard, expected, atol=1e-5)


def test_windows_of_an_mp4(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(mp4(tones(1, 3.0), layout="mono"))
    assert run(checkpoint, path, "--window", 2, "--hop", 1, "--json") == 0
    assert [one["start"] for one in lines(capsys)][:2] == [0.0, 1.0]


@given(
    blocks=st.lists(st.integers(0, 9000), max_size=8),
    size=st.integers(2000, 8000),
    share=st.floats(0.2, 1.0),
)
@settings(max_examples=80, deadline=None)
def test_windows_cover_a_recording_however_it_is_read(
    blocks: list[int], size: int, share: float
) -> None:
    step, whole = round(share * size), np.arange(sum(blocks), dtype=np.float32)
    parts = np.split(whole, np.cumsum(blocks)[:-1]) if blocks else []
    found = list(recordings._cut(parts, size, step))
    for number, window in enumerate(found):
        start = number * step
        assert (window == whole[start : start + len(window)]).all()
        assert len(window) == size or number == len(found) - 1
    end = (len(found) - 1) * step + len(found[-1]) if found else 0
    assert len(whole) - end < recordings.MINIMUM_SECONDS * RATE


def test_an_hour_is_not_read_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "hour.flac", np.tile(sound(20.0), 45), RATE)  # 15 minutes do
    windows = recordings.read_windows(path, 30, 30)
    assert len(next(windows)[1]) == 30 * RATE
    assert sum(1 for _ in windows) == 29


def test_not_likely_enough_is_not_sure(
    tiny_encoder: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_checkpoint(tiny_encoder, tmp_path / "checkpoint", abstain_below=TOO_SURE)
    assert run(made, clip, "--json") == 0
    (found,) = lines(capsys)
    assert found["emotion"] is None
    assert max(found["probabilities"].values()) < TOO_SURE
    assert run(made, clip) == 0
    assert predict.NOT_SURE in capsys.readouterr().out


MISTAKES: dict[str, tuple[list[str], str]] = {
    "a hop alone": (["--hop", "2"], "give --window S as well"),
    "no window": (["--window", "0"], "give 0.5 to 600 seconds"),
    "a window of nothing": (["--window", "nan"], "give 0.5 to 600 seconds"),
    "a hop beyond the window": (["--window", "2", "--hop", "3"], "length of the window"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(
    name: str, checkpoint: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, line = MISTAKES[name]
    assert run(checkpoint, clip, *options) == 2
    printed = capsys.readouterr()
    assert line in printed.err and printed.err.count("\n") == 1 and not printed.out


def test_a_folder_without_audio_and_a_checkpoint_that_is_none(
    checkpoint: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert run(checkpoint, tmp_path / "empty") == 2
    assert "holds no audio" in capsys.readouterr().err
    assert run(tmp_path / "empty", clip) == 2
    assert "is no checkpoint" in capsys.readouterr().err


@pytest.fixture
def voice(tmp_path: Path) -> list[Path]:
    """Recordings of somebody who sounds unlike the clip."""
    waves = [sound(1 + count / 4) * (count + 1) / 5 for count in range(5)]
    return [write(tmp_path / "voice" / f"{index}.wav", wave) for index, wave in enumerate(waves)]


def test_recordings_of_the_speaker_standardise(checkpoint: Path, voice: list[Path]) -> None:
    plain, model = (load_checkpoint(str(checkpoint)) for _ in range(2))
    assert predict.calibrate_by(model, voice) == 5
    waves = [soundfile.read(path, dtype="float32")[0] for path in voice]
    features = torch.cat([model.features(torch.from_numpy(wave)[None]) for wave in waves])
    expected = adapt.calibrate(Scaler(plain.head.mean, plain.head.deviation), features)
    torch.testing.assert_close(model.head.mean, expected.mean)
    torch.testing.assert_close(model.head.deviation, expected.deviation)
    assert (model.head.mean != plain.head.mean).any()


def test_calibration_changes_what_is_said_and_doubts_are_said(
    checkpoint: Path,
    tiny_encoder: Path,
    clip: Path,
    voice: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained = {"adapt": "speaker-adapted by 5 clips"}
    told = make_checkpoint(tiny_encoder, tmp_path / "told", training=trained)
    for model, files, doubts in (
        (told, voice, []),
        (told, voice[:4], ["4 recordings that sound, and under 5"]),
        (checkpoint, voice, ["not trained to be told"]),
    ):
        assert run(model, clip, "--json") == 0
        plain = capsys.readouterr()
        assert run(model, clip, "--json", "--calibrate", *files) == 0
        found = capsys.readouterr()
        assert found.out != plain.out
        lines = found.err.splitlines()
        assert len(lines) == len(doubts)
        assert all(doubt in line for doubt, line in zip(doubts, lines, strict=True))


@pytest.mark.parametrize("what", ["silent", "missing", "no audio"])
def test_what_cannot_calibrate_is_one_clear_line(
    what: str, checkpoint: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / f"{what}.wav"
    if what == "silent":
        write(bad, np.zeros(RATE))
    elif what == "no audio":
        bad.write_bytes(b"this is no audio")
    assert run(checkpoint, clip, "--calibrate", bad) == 2
    said = capsys.readouterr()
    assert not said.out
    (line,) = said.err.splitlines()
    assert str(bad) in line
