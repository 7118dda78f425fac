"""Decoding: what survives bit for bit, what is converted and how well, and what is refused."""

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ser_generalize.audio import (
    BadAudioError,
    decode_clip,
    encode_flac,
    pcm_sha256,
    read_pcm,
    to_pcm,
)

NOISE = np.random.default_rng(0).integers(-20_000, 20_000, 3_200).astype("<i2")  # 0.2 s at 16 kHz


def chunk(name: bytes, payload: bytes, size: int | None = None) -> bytes:
    size = len(payload) if size is None else size
    return name + struct.pack("<I", size) + payload + b"\0" * (len(payload) % 2)


def wav(
    payload: bytes,
    rate: int = 16_000,
    channels: int = 1,
    size: int | None = None,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A 16-bit RIFF file by hand; `size` is what the data chunk claims to hold."""
    head = struct.pack("<HHIIHH", 1, channels, rate, rate * 2 * channels, 2 * channels, 16)
    chunks = b"WAVE" + chunk(b"fmt ", head) + before + chunk(b"data", payload, size) + after
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def encoded(samples: NDArray[np.generic], rate: int, container: str, subtype: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
    return buffer.getvalue()


def tone(hertz: float, rate: int, seconds: float = 1.0) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def spectrum(pcm: NDArray[np.int16]) -> NDArray[np.float64]:
    """Amplitudes per hertz of the middle half second, where the resampler's edges do not reach."""
    middle = pcm[4_000:12_000] / 32_768
    return 2 * np.abs(np.fft.rfft(middle * np.hanning(len(middle)))) / (len(middle) / 2)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audio") / "clip.wav"


@settings(deadline=None, derandomize=True, max_examples=60)
@given(samples=arrays("<i2", st.integers(1_600, 2_400)))
def test_16_bit_16_khz_survives_bit_for_bit(path: Path, samples: NDArray[np.int16]) -> None:
    assume(np.abs(samples.astype(int)).max() > 3)  # else it is silence, which is refused
    path.write_bytes(wav(samples.tobytes()))
    pcm, rate = read_pcm(path)
    flac = encode_flac(pcm)
    stored, stored_rate = soundfile.read(io.BytesIO(flac), dtype="int16")
    assert (rate, stored_rate) == (16_000, 16_000)
    for decoded in (pcm, stored, decode_clip(flac) * 32_768):
        np.testing.assert_array_equal(decoded, samples)


def test_the_extremes_of_16_bit_survive(path: Path) -> None:
    extremes = np.tile(np.array([-32_768, 32_767, -1, 0, 1], "<i2"), 400)
    path.write_bytes(wav(extremes.tobytes()))
    np.testing.assert_array_equal(read_pcm(path)[0], extremes)


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("WAV", "FLOAT"),
        ("WAV", "DOUBLE"), ("WAVEX", "PCM_16"), ("AIFF", "PCM_16"), ("FLAC", "PCM_16"),
        ("FLAC", "PCM_24"),
    ],
)  # fmt: skip
def test_one_recording_is_one_hash_in_every_lossless_container(
    path: Path, container: str, subtype: str
) -> None:
    path.write_bytes(encoded(NOISE / 32_768, 16_000, container, subtype))  # whatever it is: .wav
    pcm, _ = read_pcm(path)
    assert pcm_sha256(pcm) == pcm_sha256(NOISE)
    pcm[1_000] += 1
    assert pcm_sha256(pcm) != pcm_sha256(NOISE)


@pytest.mark.parametrize("subtype", ["PCM_24", "DOUBLE"])
def test_finer_samples_are_rounded_to_the_nearest_of_16_bit(path: Path, subtype: str) -> None:
    fine = np.random.default_rng(1).uniform(-0.9, 0.9, 4_000)
    path.write_bytes(encoded(fine, 16_000, "WAV", subtype))
    pcm, _ = read_pcm(path)
    assert np.abs(pcm - fine * 32_768).max() <= 0.5 + 2**-8  # half a step, and a step of 24 bit


def test_stereo_is_averaged(path: Path) -> None:
    left, right = NOISE[:1_600], NOISE[1_600:] // 2 * 2 + NOISE[:1_600] % 2  # sums are even
    both = np.stack([left, right], axis=1).astype("<i2")
    path.write_bytes(wav(both.tobytes(), channels=2))
    pcm, _ = read_pcm(path)
    np.testing.assert_array_equal(pcm, (left.astype(int) + right) // 2)
    np.testing.assert_allclose(decode_clip(path.read_bytes()) * 32_768, pcm, atol=0.01)


def test_chunks_around_the_samples_are_no_samples(path: Path) -> None:
    bext, info = chunk(b"bext", b"\x7f" * 603), chunk(b"LIST", b"INFO" + chunk(b"ICMT", b"odd"))
    before = chunk(b"FLLR", b"\x55" * 4_044) + bext  # RAVDESS files begin so; 603 has a pad byte
    after = info + chunk(b"_PMX", b"<x/>" * 7)
    path.write_bytes(wav(NOISE.tobytes(), before=before, after=after))
    np.testing.assert_array_equal(read_pcm(path)[0], NOISE)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000], ids=["ffmpeg", "sox"])
def test_a_streamed_wav_of_unknown_size_is_accepted(path: Path, size: int) -> None:
    path.write_bytes(wav(NOISE.tobytes(), size=size))
    np.testing.assert_array_equal(read_pcm(path)[0], NOISE)


@pytest.mark.parametrize("rate", [8_000, 22_050, 24_414, 44_100, 48_000, 96_000])
def test_resampling_keeps_pitch_level_and_length(path: Path, rate: int) -> None:
    path.write_bytes(encoded(tone(440, rate), rate, "WAV", "PCM_16"))
    pcm, source_rate = read_pcm(path)
    assert source_rate == rate
    assert len(pcm) == pytest.approx(16_000, abs=1)
    found = spectrum(pcm)
    assert found.argmax() * 2 == 440  # bins of 2 Hz
    assert found.max() == pytest.approx(0.5, rel=0.005)
    assert np.sqrt(np.mean((pcm / 32_768) ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.005)
    np.testing.assert_allclose(decode_clip(path.read_bytes()) * 32_768, pcm, atol=1)


def test_what_16_khz_cannot_hold_is_filtered_out_and_not_folded(path: Path) -> None:
    both = (tone(1_000, 48_000) + tone(10_000, 48_000)) / 2
    path.write_bytes(encoded(both, 48_000, "WAV", "FLOAT"))
    found = spectrum(read_pcm(path)[0])
    assert found[500] == pytest.approx(0.25, rel=0.005)
    assert found[6_000 // 2] < 1e-4  # where decimation without a filter would put 10 kHz


def test_overshoot_saturates_and_does_not_wrap_around() -> None:
    pcm = to_pcm(np.array([1.0, 1.3, -1.0, -1.3]), 16_000)
    assert pcm.tolist() == [32_767, 32_767, -32_768, -32_768]


def with_value(value: float, channels: int = 1) -> bytes:
    samples = np.random.default_rng(2).uniform(-0.5, 0.5, (3_200, channels))
    samples[100] = value * np.array([1, -1])[:channels]
    return encoded(samples, 16_000, "WAV", "FLOAT")


WHOLE = wav(NOISE.tobytes())
AIFF = encoded(NOISE, 16_000, "AIFF", "PCM_16")
TOO_SHORT = "too short: 0.099 s, at least 0.1 s is needed"
NOT_FINITE = "holds samples that are not finite numbers"
BAD = {
    "empty": (b"", "the file is empty"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n",
                    "a git-LFS pointer, not audio: run `git lfs pull`"),
    "text": (b"file not found\n" * 100, "not audio that soundfile can decode: "),
    "web page": (b"<!DOCTYPE html><html>", "not audio that soundfile can decode: "),
    "RIFF and no more": (WHOLE[:10], "not audio that soundfile can decode: "),
    "truncated wav": (WHOLE[:-2], "truncated: 6398 of 6400 bytes"),
    "truncated aiff": (AIFF[:-1_000], "truncated: "),
    "truncated flac": (encode_flac(NOISE)[:-1_000], "not audio that soundfile can decode: "),
    "header only": (wav(b""), "header only: no samples follow"),
    "header cut off": (WHOLE[:36], "header only: no samples follow"),
    "silent": (wav(bytes(6_400)), "silent: no sample rises above -80 dBFS"),
    "almost silent": (wav(np.tile([3, -3], 1_600).astype("<i2").tobytes()), "silent: "),
    "ultrasound": (encoded(tone(20_000, 48_000) * np.hanning(48_000), 48_000, "WAV", "FLOAT"),
                   "silent: "),
    "under one step": (encoded(np.full(3_200, 1.05e-4), 16_000, "WAV", "FLOAT"), "silent: "),
    "cancelling channels": (wav(np.stack([NOISE, -NOISE], 1).tobytes(), channels=2), "silent: "),
    "NaN": (with_value(np.nan), NOT_FINITE),
    "infinity": (with_value(-np.inf), NOT_FINITE),
    "infinities that cancel": (with_value(np.inf, channels=2), NOT_FINITE),
    "floats of another scale": (with_value(20_000.0), "overloaded: samples reach 2e+04 times"),
    "under 0.1 s": (wav(NOISE[:1_590].tobytes()), TOO_SHORT),
    "under 0.1 s at 48 kHz": (wav(np.tile(NOISE, 2)[:4_770].tobytes(), 48_000), TOO_SHORT),
    "1 Hz": (wav(NOISE.tobytes(), rate=1), "a sampling rate of 1 Hz, outside 4000 to 384000 Hz"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.filterwarnings("error")
def test_a_bad_file_is_refused_with_its_own_reason(path: Path, kind: str) -> None:
    data, reason = BAD[kind]
    path.write_bytes(data)
    with pytest.raises(BadAudioError, match=rf"^{re.escape(reason)}") as raised:
        read_pcm(path)
    assert "\n" not in str(raised.value)
    assert "0x" not in str(raised.value), "a memory address differs from run to run"
    assert path.name not in str(raised.value), "the caller names the path"


def test_just_long_and_loud_enough_is_accepted(path: Path) -> None:
    quiet = np.tile([4, -4], 800).astype("<i2")  # 0.1 s
    path.write_bytes(wav(quiet.tobytes()))
    np.testing.assert_array_equal(read_pcm(path)[0], quiet)


@pytest.mark.parametrize("kind", ["text", "silent", "NaN", "under 0.1 s", "1 Hz"])
def test_bad_bytes_of_a_dataset_row_are_refused_alike(kind: str) -> None:
    data, reason = BAD[kind]
    with pytest.raises(BadAudioError, match=rf"^{re.escape(reason)}"):
        decode_clip(data)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(changes=st.dictionaries(st.integers(0, 43), st.integers(0, 255), min_size=1, max_size=4))
def test_a_damaged_header_gives_samples_or_a_reason(path: Path, changes: dict[int, int]) -> None:
    damaged = bytearray(WHOLE)
    for position, value in changes.items():
        damaged[position] = value
    path.write_bytes(damaged)
    try:
        pcm, rate = read_pcm(path)
    except BadAudioError as error:
        assert str(error)
    else:
        assert 4_000 <= rate <= 384_000
        np.testing.assert_array_equal(decode_clip(encode_flac(pcm)) * 32_768, pcm)
