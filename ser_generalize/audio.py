"""Audio in: any file that soundfile reads, and the sound of an mp4, to 16-kHz mono 16-bit PCM.

An mp4 is decoded by PyAV, which brings its own FFmpeg: none has to be installed.
"""

import hashlib
import io
import math
import struct
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ser_generalize.errors import InputError
from ser_generalize.schema import SAMPLING_RATE

MINIMUM_SECONDS = 0.1
MAXIMUM_SECONDS = 600.0  # bounds the memory that a small file can ask for; MELD's longest has 305 s
RATES = (4_000, 384_000)  # Hz; beyond them a header lies, and 1 Hz would make hours of one file
SILENCE = 1e-4  # full scale 1.0; a peak below -80 dBFS holds no speech
OVERLOAD = 2.0  # float files overshoot 1.0 a little; far above it they are not in this scale at all
LFS_POINTER = b"version https://git-lfs"
# Tools that stream cannot go back to write the size: FFmpeg leaves 0xFFFFFFFF, sox 0x7FFFF000. The
# samples then run to the end of the file; no clip is 2 GB.
RIFF_UNKNOWN_SIZE = 0x7FFFF000
MP4_BRAND = b"ftyp"  # at byte 4 of mp4, m4a, mov and 3gp
MP4_CHANNELS = 8  # PyAV reads beyond the end of its list of planes when there are more

if TYPE_CHECKING:
    from av.container import InputContainer

Pcm = NDArray[np.int16]


class BadAudioError(InputError):
    """A file that cannot be used as a clip; the message is the reason, without the path."""


def read_pcm(path: Path) -> tuple[Pcm, int]:
    """Decode a file to 16-kHz mono PCM.

    Returns the samples (int16, shape [n]) and the file's own sampling rate in Hz. Channels are
    averaged, all with the same weight, those of 5.1 too; other rates are resampled with soxr's
    high-quality band-limited filter. Of an mp4 the first audio stream is read, and no video.

    Raises BadAudioError for an empty file, a git-LFS pointer, a truncated file, anything that
    cannot be decoded, samples that are not finite or far beyond full scale, silence, a sampling
    rate outside 4 to 384 kHz, and clips under 0.1 s or over 10 minutes.
    """
    data = path.read_bytes()
    check_container(data)
    mono, rate = _decode(data)
    pcm = mono if mono.dtype == np.int16 else to_pcm(mono, rate)
    check_samples(pcm, SAMPLING_RATE, 32768)  # above 8 kHz there may have been all the sound
    return pcm, rate


def to_pcm(samples: NDArray[np.float64], rate: int) -> Pcm:
    """Resample mono samples in [-1, 1] to 16 kHz and quantise; 16-bit 16-kHz input stays exact."""
    if rate != SAMPLING_RATE:
        samples = soxr.resample(samples, rate, SAMPLING_RATE)
    scaled = samples * 32768.0
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -32768, 32767, out=scaled).astype(np.int16)


def pcm_sha256(pcm: Pcm) -> str:
    """Return the identity of a recording: SHA-256 over its little-endian 16-bit samples."""
    return hashlib.sha256(np.ascontiguousarray(pcm, "<i2").data).hexdigest()


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


def _decode(data: bytes, dtype: str = "") -> tuple[NDArray[Any], int]:
    """Return mono samples and their rate; by default float64, but int16 where they are that."""
    is_mp4 = data[4:8] == MP4_BRAND
    samples, rate = (_read_mp4 if is_mp4 else _read_soundfile)(data, dtype)
    with np.errstate(invalid="ignore"):  # infinities that cancel leave a NaN, which is refused
        mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    check_samples(mono, rate, 32768 if mono.dtype == np.int16 else 1)
    return mono, rate


def _read_soundfile(data: bytes, dtype: str) -> tuple[NDArray[Any], int]:
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            check_length(file.frames, file.samplerate)
            kind = (file.samplerate, file.channels, file.subtype)
            default = "int16" if kind == (SAMPLING_RATE, 1, "PCM_16") else "float64"
            return file.read(dtype=dtype or default, always_2d=True), file.samplerate
    except soundfile.LibsndfileError as error:
        # its str() names a memory address, which would differ in every build
        raise BadAudioError(f"not audio that soundfile can decode: {error.error_string}") from error


def _read_mp4(data: bytes, dtype: str) -> tuple[NDArray[Any], int]:
    import av  # a tenth of a second, for one corpus

    try:
        with av.open(io.BytesIO(data), "r", "mp4", metadata_errors="replace") as container:
            if not container.streams.audio:
                raise BadAudioError("an mp4 without an audio stream")
            return _read_stream(container, dtype)
    except av.FFmpegError as error:  # its str() names a file object
        raise BadAudioError(f"not an mp4 that FFmpeg can decode: {error.strerror}") from error


def _read_stream(container: "InputContainer", dtype: str) -> tuple[NDArray[Any], int]:
    """Return the samples of the first audio stream, averaged to [n, 1], and their rate.

    FFmpeg's own way from 5.1 to mono has weights, so only the number format is left to it.
    """
    import av

    to_planes = av.AudioResampler(format="dblp")
    kinds: set[tuple[str, str, int]] = set()
    pieces: list[NDArray[np.float64]] = []
    frames = 0
    for decoded in container.decode(audio=0):
        kinds.add((decoded.layout.name, decoded.format.name, decoded.sample_rate))
        frames += decoded.samples
        _check_stream(kinds, decoded.layout.nb_channels)
        check_length(frames, decoded.sample_rate)
        for frame in to_planes.resample(decoded):
            with np.errstate(invalid="ignore"):  # infinities that cancel: refused in `_decode`
                pieces.append(frame.to_ndarray().mean(axis=0))
    if not pieces:
        raise BadAudioError("an mp4 whose audio stream is empty")
    return np.concatenate(pieces).astype(dtype or "float64")[:, np.newaxis], decoded.sample_rate


def _check_stream(kinds: Collection[tuple[str, str, int]], channels: int) -> None:
    if channels > MP4_CHANNELS:
        raise BadAudioError(f"an mp4 with {channels} channels, more than {MP4_CHANNELS}")
    if len(kinds) > 1:
        raise BadAudioError("an mp4 whose channels or sampling rate change within it")


def check_container(data: bytes) -> None:
    """Raise BadAudioError where a file's bytes are none, a pointer, or end before they should."""
    if not data:
        raise BadAudioError("the file is empty (0 bytes)")
    if data.startswith(LFS_POINTER):
        raise BadAudioError("a git-LFS pointer, not audio: run `git lfs pull` in the source tree")
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        _check_riff_is_whole(data)
    if data[:4] == b"FORM":  # AIFF
        _check_size(len(data) - 8, int.from_bytes(data[4:8], "big"))
    if data[4:8] == MP4_BRAND:
        _check_mp4_is_whole(data)


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


def _check_mp4_is_whole(data: bytes) -> None:
    """Refuse an mp4 that ends within one of its boxes: FFmpeg decodes what there is."""
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        header = 8
        if size == 1:  # a 64-bit size follows the name
            size, header = int.from_bytes(data[position + 8 : position + 16], "big"), 16
        if size == 0:  # to the end of the file
            return
        _check_size(len(data) - position - header, size - header)
        position += max(size, header)


def check_length(frames: int, rate: int) -> None:
    """Raise BadAudioError where a rate is none of audio, or so many frames are over 10 minutes."""
    if not RATES[0] <= rate <= RATES[1]:
        raise BadAudioError(f"a sampling rate of {rate} Hz, outside {RATES[0]} to {RATES[1]} Hz")
    if frames > MAXIMUM_SECONDS * rate:
        raise BadAudioError(
            f"too long: {frames / rate:.0f} s or more, at most {MAXIMUM_SECONDS:.0f} s is a clip"
        )


def _check_size(found: int, announced: int) -> None:
    if found < announced:
        raise BadAudioError(f"truncated: {found} of {announced} bytes of samples are there")


def check_samples(mono: NDArray[Any], rate: int, full_scale: int = 1) -> None:
    """Raise BadAudioError where samples are too few, not finite, silent, or far too loud."""
    if len(mono) < MINIMUM_SECONDS * rate:
        raise BadAudioError(
            f"too short: {len(mono) / rate:.3f} s, at least {MINIMUM_SECONDS} s is needed"
        )
    # As Python numbers: -(-32768) does not fit 16 bits. A NaN among the samples is their maximum.
    peak = max(mono.max().item(), -mono.min().item()) / full_scale
    if not math.isfinite(peak):
        raise BadAudioError("holds samples that are not finite numbers (NaN or infinity)")
    if peak < SILENCE:
        raise BadAudioError("silent: no sample rises above -80 dBFS")
    if peak > OVERLOAD:
        raise BadAudioError(f"overloaded: samples reach {peak:.4g} times full scale")
