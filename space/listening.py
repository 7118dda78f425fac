"""From a file to an answer: what the Listen tab and the API say of a recording."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ser_generalize.adapt import FEWEST
from ser_generalize.audio import MAXIMUM_SECONDS, MP4_BRAND, BadAudioError
from ser_generalize.checkpoint import with_own_head
from ser_generalize.errors import InputError
from ser_generalize.modeling import SerForAudioClassification
from ser_generalize.predict import NOT_SURE, SILENT, Prediction, predict_windows, standardise_by
from ser_generalize.recordings import Samples, cut_windows, read_untrusted, read_windows
from ser_generalize.schema import SAMPLING_RATE

WINDOW = 4.0  # seconds that the time line hears at once
HOP = 2.0
MOST_WINDOWS = 120  # of a time line: longer recordings get longer ones
MOST_CLIPS = 100  # of one voice
FORMATS = "wav, flac, mp3, ogg or m4a"
# What starts a film: Matroska and WebM, AVI (at byte 8), MPEG streams, Flash.
FILMS = (b"\x1a\x45\xdf\xa3", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"FLV\x01")


@dataclass(frozen=True)
class Recording:
    """A decoded recording, which is all that is left of an upload."""

    name: str
    samples: Samples

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / SAMPLING_RATE


@dataclass(frozen=True)
class Stretch:
    """A part of the time line, in seconds, with what was heard around it."""

    start: float
    end: float
    heard: Prediction

    @property
    def said(self) -> str:
        """The emotion, "not sure" or "silence"."""
        return said(self.heard)


@dataclass(frozen=True)
class Answer:
    """What a checkpoint hears in a recording, as a whole and over time."""

    checkpoint: str
    recording: Recording
    whole: Prediction
    timeline: tuple[Stretch, ...]  # empty for a recording that is hardly longer than a window

    def as_json(self) -> dict[str, Any]:
        """Return what the API answers."""
        return {
            "checkpoint": self.checkpoint,
            "seconds": round(self.recording.seconds, 3),
            "emotion": self.whole.emotion,
            "abstain_below": self.whole.abstain_below,
            "probabilities": self.whole.probabilities,
            "timeline": [
                {
                    "start": stretch.start,
                    "end": stretch.end,
                    "emotion": stretch.heard.emotion,
                    "probabilities": stretch.heard.probabilities,
                }
                for stretch in self.timeline
            ],
        }


def said(heard: Prediction) -> str:
    """Return in words what was heard: an emotion, that the model is not sure, or silence."""
    return heard.emotion or (NOT_SURE if heard.probabilities else SILENT)


def read_recording(path: Path, name: str | None = None) -> Recording:
    """Decode an uploaded file of up to 10 minutes.

    Raises InputError with a sentence for the visitor, in which no path of the server is.
    """
    name = name or path.name
    with _in_a_sentence(name):
        _refuse_film(path)
        return Recording(name, read_untrusted(path))


def read_piece(path: Path) -> Samples:
    """Decode a second or so of a live recording, silent or not; raises InputError."""
    with _in_a_sentence("The microphone's sound"):
        pieces = [samples for _, samples in read_windows(path, WINDOW, WINDOW)]
        return np.concatenate(pieces) if pieces else np.empty(0, np.float32)


def listen(checkpoint: str, model: SerForAudioClassification, recording: Recording) -> Answer:
    """Return what a checkpoint hears in a recording: as `predict` does, and in windows."""
    (whole,) = _predict(model, recording, iter([(0.0, recording.samples)]))
    return Answer(checkpoint, recording, whole, tuple(_timeline(model, recording)))


def calibrated(
    model: SerForAudioClassification, voice: Sequence[Recording]
) -> SerForAudioClassification:
    """Return a model told of a speaker by unlabelled recordings; the other one stays as it is.

    Raises InputError where they are fewer than are known to help.
    """
    if len(voice) < FEWEST:
        raise InputError(
            f"Calibration needs {FEWEST} recordings of you or more, and has {len(voice)}: "
            "with fewer it is not known to help."
        )
    twin = with_own_head(model)
    standardise_by(twin, [recording.samples for recording in voice])
    return twin


def add_to_voice(voice: Sequence[Recording], more: Sequence[Recording]) -> tuple[Recording, ...]:
    """Join recordings of a visitor; raises InputError where they are more than are kept at once."""
    joined = (*voice, *more)
    if len(joined) > MOST_CLIPS or sum(one.seconds for one in joined) > MAXIMUM_SECONDS:
        raise InputError(
            f"Calibration takes {MOST_CLIPS} recordings and {MAXIMUM_SECONDS / 60:.0f} minutes "
            "together at most; nothing was added."
        )
    return joined


def window_and_hop(seconds: float) -> tuple[float, float]:
    """Return the length and the step of the windows of a recording's time line, in seconds."""
    hop = max(HOP, round(seconds / MOST_WINDOWS, 1))
    return max(WINDOW, hop), hop


def _timeline(model: SerForAudioClassification, recording: Recording) -> Iterator[Stretch]:
    """Yield the parts of a recording that lie nearer to one window's middle than to another's."""
    window, hop = window_and_hop(recording.seconds)
    if recording.seconds < window + hop:
        return
    found = list(_predict(model, recording, cut_windows(recording.samples, window, hop)))
    middles = [(one.start + one.end) / 2 for one in found]
    borders = [(before + after) / 2 for before, after in pairwise(middles)]
    edges = [0.0, *borders, recording.seconds]
    for (start, end), heard in zip(pairwise(edges), found, strict=True):
        yield Stretch(round(start, 2), round(end, 2), heard)


def merged(timeline: Sequence[Stretch]) -> Iterator[tuple[float, float, str]]:
    """Yield (start, end, said) of the time line, neighbours that say the same joined."""
    for same, stretches in groupby(timeline, key=lambda stretch: stretch.said):
        joined = list(stretches)
        yield joined[0].start, joined[-1].end, same


def _predict(
    model: SerForAudioClassification,
    recording: Recording,
    windows: Iterator[tuple[float, Samples]],
) -> Iterator[Prediction]:
    return predict_windows(model, Path(recording.name), windows)


@contextmanager
def _in_a_sentence(name: str) -> Iterator[None]:
    try:
        yield
    except BadAudioError as error:
        reason = str(error).rstrip(".")
        raise InputError(f"{name} cannot be listened to: {reason}. Give {FORMATS}.") from error
    except OSError as error:
        raise InputError(
            f"{name} is no longer here ({error.strerror}): upload it again."
        ) from error


def _refuse_film(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(16)
    film = start.startswith(FILMS) or start[8:12] == b"AVI "
    if film or (start[4:8] == MP4_BRAND and _has_pictures(path)):
        raise BadAudioError("it is a video, and faces are not looked at; save its sound alone")


def _has_pictures(path: Path) -> bool:
    """Return whether an mp4 has a video; the cover of a song is none."""
    import av
    from av.stream import Disposition

    try:
        with av.open(str(path), "r", "mp4", metadata_errors="replace") as container:
            streams = container.streams.video
            return any(not stream.disposition & Disposition.attached_pic for stream in streams)
    except av.FFmpegError:
        return False  # the decoder says what is wrong with it


def loudness(samples: Samples, bars: int) -> list[float]:
    """Return the peaks of so many parts of a recording, of the loudest one, in [0, 1]."""
    parts = np.array_split(np.abs(samples), bars)
    peaks = np.array([part.max() if len(part) else 0.0 for part in parts])
    return (peaks / max(float(peaks.max()), 1e-9)).round(3).tolist()
