"""Audio in: any file soundfile reads, to 16-kHz mono 16-bit PCM; no FFmpeg, no torchcodec."""

import hashlib
import io
import struct
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ser_generalize.errors import InputError
from ser_generalize.schema import SAMPLING_RATE

MINIMUM_SECONDS = 0.1
SILENCE = 1e-4  # full scale 1.0; a peak below -80 dBFS holds no speech
LFS_POINTER = b"version https://git-lfs"
RIFF_UNKNOWN_SIZE = 0xFFFFFFFF  # written by tools that stream: the data runs to the end of the file

Pcm = NDArray[np.int16]


class BadAudioError(InputError):
    """A file that cannot be used as a clip; the message is the reason, without the path."""


def read_pcm(path: Path) -> tuple[Pcm, int]:
    """Decode a file to 16-kHz mono PCM.

    Returns the samples (int16, shape [n]) and the file's own sampling rate in Hz. Channels are
    averaged; other rates are resampled with soxr's high-quality band-limited filter.

    Raises BadAudioError for an empty file, a git-LFS pointer, a truncated RIFF file, anything
    soundfile cannot decode, samples that are not finite, silence, and clips under 0.1 s.
    """
    data = path.read_bytes()
    _check_container(data)
    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float64", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise BadAudioError(f"not audio that soundfile can decode ({error})") from error
    mono = samples.mean(axis=1)
    _check_samples(mono, rate)
    return to_pcm(mono, rate), rate


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
    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise BadAudioError(f"not audio that soundfile can decode ({error})") from error
    mono = samples.mean(axis=1)
    _check_samples(mono, rate)
    return mono if rate == SAMPLING_RATE else soxr.resample(mono, rate, SAMPLING_RATE)


def _check_container(data: bytes) -> None:
    if not data:
        raise BadAudioError("the file is empty (0 bytes)")
    if data.startswith(LFS_POINTER):
        raise BadAudioError("a git-LFS pointer, not audio: run `git lfs pull` in the source tree")
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        _check_riff_is_whole(data)


def _check_riff_is_whole(data: bytes) -> None:
    """Refuse a wav that ends before its data does: libsndfile reads it without a word."""
    position = 12
    while position + 8 <= len(data):
        chunk, size = struct.unpack_from("<4sI", data, position)
        position += 8
        if chunk == b"data":
            if size != RIFF_UNKNOWN_SIZE and position + size > len(data):
                raise BadAudioError(
                    f"truncated: {len(data) - position} of {size} bytes of samples are there"
                )
            return
        position += size + size % 2
    raise BadAudioError("truncated: the wav header has no samples behind it")


def _check_samples(mono: NDArray[np.floating], rate: int) -> None:
    if len(mono) < MINIMUM_SECONDS * rate:
        raise BadAudioError(
            f"too short: {len(mono) / rate:.3f} s, at least {MINIMUM_SECONDS} s is needed"
        )
    if not np.isfinite(mono).all():
        raise BadAudioError("holds samples that are not finite numbers (NaN or infinity)")
    if np.abs(mono).max() < SILENCE:
        raise BadAudioError("silent: no sample rises above -80 dBFS")
