"""The table of protocols: what each promises, and how."""

from collections.abc import Callable
from dataclasses import dataclass

from ser_generalize.protocols import parts, validation
from ser_generalize.protocols.clips import Clips, Rows

EACH, UNION, MATCHED = "each", "union", "matched"
TRAIN_ON = (EACH, UNION, MATCHED)
# What readers are told of a promise that a protocol does not make.
LEAKS = {
    "speaker": "Test speakers are also in the training part: this says nothing about new voices.",
    "session": "Test recordings' sessions are also in the training part.",
    "text": "Test sentences are also in the training part.",
    "audio": "Some recordings are in both the training and the test part.",
}


@dataclass(frozen=True)
class Protocol:
    """A protocol.

    `apart` are the columns in which no training clip is like a test clip; every fold is checked
    for it. `needs` are those without which a clip is not tested: one of unknown speaker is trained
    on all the same, one that lacks another of them is in no part.
    """

    title: str  # for readers
    divide: parts.Divide
    apart: tuple[str, ...] = ("speaker", "sha256")
    needs: tuple[str, ...] = ("speaker",)
    leaks: tuple[str, ...] = ()  # of LEAKS
    train_on: tuple[str, ...] = TRAIN_ON  # the default first
    validate: Callable[[Clips, Rows, str], Rows] = validation.some_speakers
    untested: str = "their speaker is unknown"  # why clips are in no test part

    @property
    def elsewhere(self) -> bool:
        """Whether it trains on other corpora than the one it tests."""
        return "corpus" in self.apart


ELSEWHERE = ("corpus", "speaker", "sha256")
PROTOCOLS = {
    "loso": Protocol(
        "leave one speaker out: every speaker is tested by a model that never heard them",
        parts.by_speaker,
    ),
    "session": Protocol(
        "leave one session out: a session's speakers are tested by a model without them",
        parts.by_session,
        apart=("speaker", "session", "sha256"),
        needs=("session", "speaker"),
        untested="their speaker or session is unknown",
    ),
    "loco": Protocol(
        "leave one corpus out: every corpus is tested by a model trained on the others",
        parts.by_corpus,
        apart=ELSEWHERE,
        needs=(),
        train_on=(UNION,),
    ),
    "cross": Protocol(
        "cross-corpus: trained on one corpus, tested on another; a corpus's score pools the "
        "predictions of all models that were trained on one of the others",
        parts.by_corpus,
        apart=ELSEWHERE,
        needs=(),
        train_on=(EACH,),
    ),
    "within": Protocol(
        "speaker-disjoint folds within each corpus",
        parts.by_some_speakers,
    ),
    "official": Protocol(
        "the corpus's own split into training and test",
        parts.by_official_split,
        apart=("sha256",),
        needs=("official_split",),
        leaks=("speaker",),
        validate=validation.official,
        untested="they are not in the test part of the corpus's own split",
    ),
    "emobox": Protocol(
        "the folds of EmoBox (Interspeech 2024)",
        parts.by_emobox,
    ),
    "text": Protocol(
        "leave speakers and texts out: neither the test speakers nor the test sentences are in "
        "the training part",
        parts.by_speakers_and_texts,
        apart=("speaker", "text_id", "sha256"),
        needs=("text_id", "speaker"),
        untested="their speaker or text is unknown",
    ),
    "random": Protocol(
        "random folds over clips, only to measure what leaks",
        parts.by_clip,
        apart=("sha256",),
        needs=(),
        leaks=("speaker", "session", "text"),
        validate=validation.some_clips,
    ),
}


def tests_clips_again(name: str) -> bool:
    """Return whether a protocol tests a clip by several models: its fold then tells which."""
    protocol = PROTOCOLS.get(name)  # None: of another version of this package
    return protocol is not None and protocol.elsewhere and protocol.train_on == (EACH,)
