"""The closed list of emotions, the label sets that experiments are scored on, disputed mappings."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ser_generalize.errors import one_of

# The integers of the published ClassLabel are positions in this list: append, never reorder.
EMOTIONS = (
    "neutral", "calm", "happy", "excited", "amused", "pleasure", "sad", "angry",
    "frustrated", "surprised", "fearful", "disgusted", "contempt", "bored", "sleepy", "anxious",
    "apologetic", "assertive", "concerned", "encouraging", "pain", "disappointed", "breath",
    "other",
)  # fmt: skip

FOUR = ("neutral", "happy", "sad", "angry")
FIVE = (*FOUR, "surprised")
LABEL_SETS: dict[str, tuple[str, ...]] = {"four": FOUR, "five": FIVE}
NATIVE = "native"  # a corpus's own labels: comparable within that corpus only
ACTED, VOTES = "acted", "votes"
LABELS_FROM = {ACTED: "the corpus's own label", VOTES: "the emotion that most raters chose"}


@dataclass(frozen=True)
class Choice:
    """A mapping that authors dispute: what an emotion of a corpus counts as, and the alternative.

    `emotion` is stored as it is; only the label sets see what it counts as.
    """

    name: str  # of the alternative
    corpus: str
    emotion: str
    counts_as: str
    alternative: str


CHOICES = (
    Choice("iemocap-excited-apart", "iemocap", "excited", "happy", "excited"),
    Choice("ravdess-calm-is-neutral", "ravdess", "calm", "calm", "neutral"),
    Choice("emov_db-amused-is-happy", "emov_db", "amused", "amused", "happy"),
    Choice("jl_corpus-excited-is-happy", "jl_corpus", "excited", "excited", "happy"),
    Choice("emofilm-contempt-is-disgusted", "emofilm", "contempt", "contempt", "disgusted"),
)
# Bursts, a laugh or a sob, stand outside the label sets: with them "happy" would be laughter.
BURSTS_COUNT = "bursts-count"
ALTERNATIVES = (*(choice.name for choice in CHOICES), BURSTS_COUNT)


def in_label_set(
    corpus: str,
    emotion: str | None,
    vocalisation: str,
    classes: Sequence[str],
    alternatives: Collection[str] = (),
) -> str | None:
    """Return the class of a label set that a clip belongs to, None where it stands outside.

    `alternatives` are names from ALTERNATIVES; the others keep their default.
    """
    if vocalisation == "burst" and BURSTS_COUNT not in alternatives:
        return None
    for choice in CHOICES:
        if (choice.corpus, choice.emotion) == (corpus, emotion):
            emotion = choice.alternative if choice.name in alternatives else choice.counts_as
            break
    return emotion if emotion in classes else None


def plurality(votes: Iterable[tuple[str, int | None]]) -> str | None:
    """Return the emotion with the most votes, None where several share the lead or nobody voted.

    Takes (emotion, number of raters); where a corpus names the winners without numbers, those are
    None. More than half of the raters is not asked for, as IEMOCAP does: with three raters or more
    who may choose among many emotions that would drop clips on which the largest group agrees.
    """
    counts: Counter[str] = Counter()
    for emotion, count in votes:
        counts[emotion] += 1 if count is None else count
    most = max(counts.values(), default=0)
    leaders = [emotion for emotion, count in counts.items() if count == most]
    return leaders[0] if most and len(leaders) == 1 else None


def check_label_set(name: str) -> str:
    """Return the name of a label set, or raise an InputError that names the valid ones."""
    return one_of("label set", name, [*LABEL_SETS, NATIVE])
