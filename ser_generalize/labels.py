"""The closed list of emotions and the label sets that experiments are scored on."""

from collections.abc import Sequence

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


def in_label_set(emotion: str, classes: Sequence[str]) -> str | None:
    """Return the emotion if the label set holds it, else None: the clip stands outside the set."""
    return emotion if emotion in classes else None


def check_label_set(name: str) -> str:
    """Return the name of a label set, or raise an InputError that names the valid ones."""
    return one_of("label set", name, [*LABEL_SETS, NATIVE])
