"""ASVP-ESD: `Audio/actor_36/03-01-02-01-01-36-02-02-01.wav`, eight to twelve fields, bursts.

The fields are modality, vocal channel, emotion, intensity, statement, actor, age, source, and then
some of language, similarity and noise.
"""

from collections.abc import Iterator

from dataset_scripts.fabrication.tree import Take, Tree, grid
from dataset_scripts.synthesis.channel import Channel
from dataset_scripts.synthesis.phones import BURSTS
from dataset_scripts.synthesis.words import sentence

ROOT = "ASVP-ESD-Update"
ACTORS = [f"{number}" for number in range(1, 131)]  # odd: a woman
EMOTIONS = (
    "bored", "neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised", "excited",
    "pleasure", "pain", "disappointed", "breath",
)  # fmt: skip
RARE = {"bored", "excited", "pleasure", "pain", "disappointed", "breath"}
SHARES = {emotion: 0.4 if emotion in RARE else 1.0 for emotion in EMOTIONS}
LIKENESS = {"happy": "13", "sad": "14", "angry": "15", "fearful": "16", "surprised": "18"}
LANGUAGES = ("02", "01", "04", "06")
TAGS = {"01": "zh", "02": "en", "04": "fr"}  # other codes: the authors do not say
SPEECH_ENDS = ("-{language}", "-{language}-77", "-{language}-66", "")
BURST_ENDS = ("-{language}-{likeness}", "-{language}-{likeness}-77", "-{language}-{likeness}-01-77")
EVERY_THIRD = 3  # is a burst


def takes(speakers: int, clips: int) -> Iterator[Take]:
    """Yield the takes, and one sob of a baby, whose name has a space in it."""
    for actor, emotion, number in grid(ACTORS[:speakers], SHARES, clips):
        yield _take(actor, emotion, number)
    yield Take(
        path=f"{ROOT}/Bonus/actor_150/03-02-04-01-52-150-04-01-00-14 -01.wav",
        speaker="150",
        sex="female",
        emotion="sad",
        text=BURSTS["sad"],
        language="und",
        vocalisation="burst",
    )


def _take(actor: str, emotion: str, number: int) -> Take:
    burst = emotion == "breath" or number % EVERY_THIRD == EVERY_THIRD - 1
    ends = BURST_ENDS if burst else SPEECH_ENDS
    end = ends[(number // EVERY_THIRD if burst else number) % len(ends)]
    code = LANGUAGES[int(actor) // 2 % len(LANGUAGES)]
    language = TAGS.get(code, "und") if end else "und"
    name = (
        f"03-{'02' if burst else '01'}-{EMOTIONS.index(emotion) + 1:02}-01-{number + 1:02}-{actor}"
        f"-02-02{end.format(language=code, likeness=LIKENESS.get(emotion, '00'))}"
    )
    spoken = sentence("zh" if language == "zh" else "en", "asvp_esd", actor, emotion, number)
    # Breaths of all actors lie in a folder of nobody's.
    return Take(
        path=f"{ROOT}/Audio/actor_{'' if emotion == 'breath' else actor}/{name}.wav",
        speaker=actor,
        sex="female" if int(actor) % 2 else "male",
        emotion=emotion,
        text=BURSTS[emotion] if burst else spoken.phones,
        language=language,
        vocalisation="burst" if burst else "speech",
    )


TREE = Tree(
    len(ACTORS),
    99,
    Channel(low=150, high=6_000, gain=12, noise=-44, rumble=0.9, decay=0.3, room=-20),
    takes,
)
