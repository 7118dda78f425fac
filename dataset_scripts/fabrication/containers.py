"""Samples into files, in the containers and encodings that the corpora really use."""

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

NOTE = "fabricated by ser-generalize; no human speech"  # in every file, lest one pass for real
DATA_OFFSET = 4096  # where recorders of Apple's let the samples begin, filling up what is before
ENCODINGS = {"PCM_16": (1, "<i2", 32767), "DOUBLE": (3, "<f8", 1)}  # code, type, full scale
STEREO_SHARES = (1.0, 1.0)
SURROUND_SHARES = (0.3, 0.3, 1.0, 0.05, 0.1, 0.1)  # left, right, centre, bass, behind: as in films
VIDEO = (64, 48)  # pixels: as much of a picture as a decoder needs to have something to skip

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Container:
    """How samples are stored; `kind` is "wav", "filler" (a wav full of chunks), "aiff" or "mp4"."""

    rate: int = 16_000  # Hz
    kind: str = "wav"
    subtype: str = "PCM_16"
    channels: int = 1


def save(path: Path, samples: Samples, container: Container) -> None:
    """Write mono samples in [-1, 1], shape [n], with the note that nobody spoke."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if container.kind == "mp4":
        path.write_bytes(_mp4(samples, container))
    elif container.kind == "aiff":
        with soundfile.SoundFile(path, "w", container.rate, 1, "PCM_16", format="AIFF") as file:
            file.comment = NOTE
            file.write(samples)
    else:
        path.write_bytes(_wav(samples, container))


def _wav(samples: Samples, container: Container) -> bytes:
    """Return a wav file; libsndfile would leave the time of day in those of floats."""
    code, dtype, scale = ENCODINGS[container.subtype]
    spread = np.repeat(samples * scale, container.channels)
    data = (np.rint(spread) if dtype == "<i2" else spread).astype(dtype).tobytes()
    frame = container.channels * np.dtype(dtype).itemsize
    rates = (container.rate, container.rate * frame, frame, 8 * np.dtype(dtype).itemsize)
    before = _chunk(b"fmt ", struct.pack("<HHIIHH", code, container.channels, *rates))
    after = _chunk(b"LIST", b"INFO" + _chunk(b"ICMT", NOTE.encode() + b"\0"))
    if container.kind == "filler":  # the samples do not begin at byte 44, as careless readers think
        before += _chunk(b"FLLR", bytes(DATA_OFFSET - 12 - len(before) - 8 - 8))
        after += _chunk(b"bext", NOTE.encode().ljust(602, b"\0"))
    body = b"WAVE" + before + _chunk(b"data", data) + after
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _mp4(samples: Samples, container: Container) -> bytes:
    """Return AAC beside a black picture."""
    layout = {2: "stereo", 6: "5.1"}[container.channels]
    buffer = io.BytesIO()
    with av.open(buffer, "w", "mp4", options={"fflags": "+bitexact"}) as file:
        file.metadata["comment"] = NOTE
        picture = file.add_stream("mpeg4", rate=24, width=VIDEO[0], height=VIDEO[1])
        sound = file.add_stream("aac", rate=container.rate, layout=layout)
        sound.bit_rate = 48_000 * container.channels
        black = av.VideoFrame.from_ndarray(np.zeros((VIDEO[1], VIDEO[0], 3), np.uint8), "rgb24")
        file.mux(picture.encode(black))
        file.mux(picture.encode(None))
        file.mux(sound.encode(_frame(samples, container, layout)))
        file.mux(sound.encode(None))
    return buffer.getvalue()


def _frame(samples: Samples, container: Container, layout: str) -> av.AudioFrame:
    shares = STEREO_SHARES if container.channels == 2 else SURROUND_SHARES
    planes = (np.array(shares)[:, None] * samples).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
    frame.sample_rate, frame.pts = container.rate, 0
    return frame
