"""From a file to an answer: formats, the time line, a visitor's voice, and what is no audio."""

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from listening import (
    MOST_CLIPS,
    MOST_WINDOWS,
    Recording,
    add_to_voice,
    calibrated,
    listen,
    merged,
    read_piece,
    read_recording,
    window_and_hop,
)
from make_checkpoint import make_checkpoint
from make_encoder import RATE, sound
from test_mp4 import mp4, tones

from ser_generalize.adapt import FEWEST
from ser_generalize.checkpoint import load_checkpoint
from ser_generalize.errors import InputError
from ser_generalize.labels import FOUR
from ser_generalize.modeling import SerForAudioClassification
from ser_generalize.predict import calibrate_by, predict_file


@pytest.fixture(scope="module")
def checkpoint(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tiny_encoder, tmp_path_factory.mktemp("made") / "checkpoint")


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> SerForAudioClassification:
    return load_checkpoint(str(checkpoint))


def write(path: Path, samples: np.ndarray, rate: int = RATE, **how: str) -> Path:
    soundfile.write(path, samples, rate, **how)
    return path


def recording(seconds: float, seed: int = 0) -> Recording:
    return Recording(f"{seed}.wav", sound(seconds, seed))


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "m4a"])
def test_an_answer_is_what_predict_says(
    model: SerForAudioClassification, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"clip.{suffix}"
    if suffix == "m4a":
        path.write_bytes(mp4(tones(1, 2.0), layout="mono", video=False))
    else:
        write(path, sound(2.0))
    found = listen("tiny", model, read_recording(path)).as_json()
    (expected,) = predict_file(model, path, None, None)
    assert expected.probabilities is not None and list(found["probabilities"]) == list(FOUR)
    for name, chance in expected.probabilities.items():
        assert found["probabilities"][name] == pytest.approx(chance, abs=1e-3)
    assert found["emotion"] == expected.emotion
    assert found["seconds"] == pytest.approx(2.0, abs=0.1)
    assert found["timeline"] == []


@given(seconds=st.floats(0.2, 40.0))
@settings(max_examples=15, deadline=None)
def test_the_time_line_covers_a_recording_once(
    model: SerForAudioClassification, seconds: float
) -> None:
    found = listen("tiny", model, recording(seconds))
    if not found.timeline:
        assert seconds < 6.01
        return
    edges = [found.timeline[0].start, *(stretch.end for stretch in found.timeline)]
    assert edges[0] == 0 and edges[-1] == round(found.recording.seconds, 2)
    assert edges == sorted(edges)
    assert [stretch.start for stretch in found.timeline] == edges[:-1]
    joined = list(merged(found.timeline))
    assert (joined[0][0], joined[-1][1]) == (0, edges[-1])
    assert all(before[2] != after[2] for before, after in pairwise(joined))


@given(seconds=st.floats(6.0, 600.0))
@settings(deadline=None)
def test_a_long_recording_has_as_many_windows_as_can_be_waited_for(seconds: float) -> None:
    window, hop = window_and_hop(seconds)
    assert window >= hop  # nothing goes unheard
    assert (seconds - window) / hop < MOST_WINDOWS + 1


def test_silence_in_a_recording_is_no_emotion(model: SerForAudioClassification) -> None:
    samples = sound(20.0)
    samples[8 * RATE : 14 * RATE] = 0
    found = listen("tiny", model, Recording("pause.wav", samples))
    silent = [part for part in merged(found.timeline) if part[2] == "silence"]
    (start, end, _) = silent[0]
    assert len(silent) == 1 and 8 <= start < end <= 14


@pytest.mark.parametrize("samples", [np.zeros(RATE), sound(1.0), np.zeros(0)])
def test_a_piece_of_a_live_recording_may_be_silent(tmp_path: Path, samples: np.ndarray) -> None:
    found = read_piece(write(tmp_path / "piece.wav", samples, subtype="FLOAT"))
    np.testing.assert_array_equal(found, samples.astype(np.float32))


def test_not_sure_is_an_answer(model: SerForAudioClassification) -> None:
    model.config.abstain_below = 0.9999
    try:
        found = listen("tiny", model, recording(8.0))
    finally:
        model.config.abstain_below = None
    assert found.as_json()["emotion"] is None
    assert {stretch.said for stretch in found.timeline} == {"not sure"}


def test_a_visitors_voice_changes_their_answer_alone(
    checkpoint: Path, model: SerForAudioClassification, tmp_path: Path
) -> None:
    voice = [recording(1.0, seed) for seed in range(1, FEWEST + 1)]
    before = listen("tiny", model, recording(1.5)).whole
    after = listen("tiny", calibrated(model, voice), recording(1.5)).whole
    assert listen("tiny", model, recording(1.5)).whole == before
    other = load_checkpoint(str(checkpoint))  # as `predict --calibrate` has it
    calibrate_by(other, [write(tmp_path / one.name, one.samples) for one in voice])
    expected = listen("tiny", other, recording(1.5)).whole
    found, plain, wanted = (one.probabilities or {} for one in (after, before, expected))
    assert found == pytest.approx(wanted, abs=1e-3)
    assert found != pytest.approx(plain, abs=1e-2)


def test_fewer_recordings_than_are_known_to_help_are_refused(
    model: SerForAudioClassification,
) -> None:
    with pytest.raises(InputError, match=f"needs {FEWEST} recordings of you or more, and has 4"):
        calibrated(model, [recording(1.0)] * (FEWEST - 1))


def test_a_voice_has_a_limit() -> None:
    clip, long = recording(0.2), Recording("long.wav", np.zeros(400 * RATE, np.float32))
    full = add_to_voice((), [clip] * MOST_CLIPS)
    assert len(full) == MOST_CLIPS
    for voice, more in ((full, clip), ((long,), long)):
        with pytest.raises(InputError, match="nothing was added"):
            add_to_voice(voice, [more])


def _zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.wav", bytes(10**8))
    return buffer.getvalue()


def _audio(samples: np.ndarray, rate: int, kind: str = "WAV", subtype: str = "FLOAT") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def _two_hours() -> bytes:
    return _audio(np.tile(sound(1.0)[::2], 7200), 8000, "FLAC", "PCM_16")


def _noise(value: float) -> np.ndarray:
    samples = sound(1.0)
    samples[100] = value
    return samples


BAD: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "text": ("notes.txt", lambda: b"Dear diary", "not audio"),
    "nothing": ("empty.wav", lambda: b"", "is empty"),
    "no samples": ("header.wav", lambda: _audio(np.zeros(0), RATE), "header only"),
    "silence": ("quiet.wav", lambda: _audio(np.zeros(RATE), RATE), "silent"),
    "not a number": ("nan.wav", lambda: _audio(_noise(np.nan), RATE), "not finite"),
    "infinity": ("inf.wav", lambda: _audio(_noise(np.inf), RATE), "not finite"),
    "too loud": ("loud.wav", lambda: _audio(1e6 * sound(1.0), RATE), "overloaded"),
    "too short": ("click.wav", lambda: _audio(sound(0.05), RATE), "too short"),
    "too long": ("night.flac", _two_hours, "too long"),
    "a zip bomb": ("song.flac", _zip_bomb, "not audio"),
    "a video": ("film.mp4", lambda: mp4(tones(1), layout="mono", video=True), "video"),
    "another video": ("film.webm", lambda: b"\x1a\x45\xdf\xa3" + bytes(99), "video"),
    "a damaged mp4": ("x.m4a", lambda: mp4(tones(1), layout="mono")[:900], "truncated"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_listened_to_is_refused_in_a_sentence(tmp_path: Path, case: str) -> None:
    name, content, why = BAD[case]
    path = tmp_path / name
    path.write_bytes(content())
    with pytest.raises(InputError, match=why) as caught:
        read_recording(path)
    said = str(caught.value)
    assert said.startswith(f"{name} cannot be listened to: ") and said.endswith(".")
    assert str(tmp_path) not in said and "\n" not in said


def test_an_upload_that_is_gone_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^gone.wav is no longer here \(No such file"):
        read_recording(tmp_path / "gone.wav")


def test_a_small_file_cannot_ask_for_much_memory(tmp_path: Path) -> None:
    """As `predict` reads a file, 20 s of it would be half a gigabyte, and ten minutes 15."""
    path, rate, channels = tmp_path / "bomb.flac", 384_000, 8
    second = np.repeat((np.arange(rate) % 9000).astype(np.int16)[:, None], channels, axis=1)
    with soundfile.SoundFile(path, "w", rate, channels, "PCM_16") as file:
        for _ in range(20):
            file.write(second)
    del second
    tracemalloc.start()
    try:
        assert read_recording(path).seconds == pytest.approx(20, abs=0.01)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**27
