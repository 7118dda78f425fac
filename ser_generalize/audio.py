"""Audio in: any file soundfile reads, to 16-kHz mono 16-bit PCM; no FFmpeg, no torchcodec."""

import hashlib
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ser_generalize.errors import InputError
from ser_generalize.schema import SAMPLING_RATE

MINIMUM_SECONDS = 0.1
RATES = (4_000, 384_000)  # Hz; beyond them a header lies, and 1 Hz would make hours of one file
SILENCE = 1e-4  # full scale 1.0; a peak below -80 dBFS holds no speech
OVERLOAD = 2.0  # float files overshoot 1.0 a little; far above it they are not in this scale at all
LFS_POINTER = b"version https://git-lfs"
# Tools that stream cannot go back to write the size: FFmpeg leaves 0xFFFFFFFF, sox 0x7FFFF000. The
# samples then run to the end of the file; no clip is 2 GB.
RIFF_UNKNOWN_SIZE = 0x7FFFF000

Pcm = NDArray[np.int16]


class BadAudioError(InputError):
    """A file that cannot be used as a clip; the message is the reason, without the path."""


def read_pcm(path: Path) -> tuple[Pcm, int]:
    """Decode a file to 16-kHz mono PCM.

    Returns the samples (int16, shape [n]) and the file's own sampling rate in Hz. Channels are
    averaged; other rates are resampled with soxr's high-quality band-limited filter.

    Raises BadAudioError for an empty file, a git-LFS pointer, a truncated file, anything soundfile
    cannot decode, samples that are not finite or far beyond full scale, silence, a sampling rate
    outside 4 to 384 kHz, and clips under 0.1 s.
    """
    data = path.read_bytes()
    _check_container(data)
    mono, rate = _decode(data, "float64")
    pcm = to_pcm(mono, rate)
    _check_samples(pcm / 32768, SAMPLING_RATE)  # above 8 kHz there may have been all the sound
    return pcm, rate


def to_pcm(samples: NDArray[np.float64], rate: int) -> Pcm:
    """Resample mono samples in [-1, 1] to 16 kHz and quantise; 16-bit 16-kHz input stays exact."""
    if rate != SAMPLING_RATE:
        samples = soxr.resample(samples, rate, SAMPLING_RATE)
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def pcm_sha256(pcm: Pcm) -> str:
    """Return the identity of a recording: SHA-256 over its little-endian 16-bit samples."""
    return hashlib.sha256(pcm.astype("<i2").tobytes()).hexdigest()


def encode_flac(pcm: Pcm) -> bytes:
    """Encode 16-kHz mono PCM as FLAC, without loss."""
    buffer = io.BytesIO()
    soundfile.write(buffer, pcm, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_clip(data: bytes) -> NDArray[np.float32]:
    """Decode the audio bytes of a dataset row to samples in [-1, 1], shape [n], 16 kHz mono.

    Rows that this project built are 16-kHz mono FLAC; other rates and channel counts are converted.
    """
    mono, rate = _decode(data, "float32")
    return mono if rate == SAMPLING_RATE else soxr.resample(mono, rate, SAMPLING_RATE)


def _decode(data: bytes, dtype: str) -> tuple[NDArray[Any], int]:
    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype=dtype, always_2d=True)
    except soundfile.LibsndfileError as error:
        # its str() names a memory address, which would differ in every build
        raise BadAudioError(f"not audio that soundfile can decode: {error.error_string}") from error
    if not RATES[0] <= rate <= RATES[1]:
        raise BadAudioError(f"a sampling rate of {rate} Hz, outside {RATES[0]} to {RATES[1]} Hz")
    if not np.isfinite(samples).all():
        raise BadAudioError("holds samples that are not finite numbers (NaN or infinity)")
    mono = samples.mean(axis=1)
    _check_samples(mono, rate)
    return mono, rate


def _check_container(data: bytes) -> None:
    if not data:
        raise BadAudioError("the file is empty (0 bytes)")
    if data.startswith(LFS_POINTER):
        raise BadAudioError("a git-LFS pointer, not audio: run `git lfs pull` in the source tree")
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        _check_riff_is_whole(data)
    if data[:4] == b"FORM":  # AIFF
        _check_size(len(data) - 8, int.from_bytes(data[4:8], "big"))


def _check_riff_is_whole(data: bytes) -> None:
    """Refuse a wav that ends before its data does: libsndfile reads it without a word."""
    position = 12
    while position + 8 <= len(data):
        chunk, size = struct.unpack_from("<4sI", data, position)
        position += 8
        if chunk == b"data" and size:
            if size < RIFF_UNKNOWN_SIZE:
                _check_size(len(data) - position, size)
            return
        position += size + size % 2
    raise BadAudioError("header only: no samples follow in the wav file")


def _check_size(found: int, announced: int) -> None:
    if found < announced:
        raise BadAudioError(f"truncated: {found} of {announced} bytes of samples are there")


def _check_samples(mono: NDArray[np.floating], rate: int) -> None:
    if len(mono) < MINIMUM_SECONDS * rate:
        raise BadAudioError(
            f"too short: {len(mono) / rate:.3f} s, at least {MINIMUM_SECONDS} s is needed"
        )
    peak = np.abs(mono).max()
    if peak < SILENCE:
        raise BadAudioError("silent: no sample rises above -80 dBFS")
    if peak > OVERLOAD:
        raise BadAudioError(f"overloaded: samples reach {peak:.4g} times full scale")
