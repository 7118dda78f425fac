"""EmoV-DB: four English speakers read CMU Arctic sentences amused, angry, disgusted, sleepy."""

import re
from collections.abc import Iterator
from pathlib import Path

from dataset_scripts.corpus import Archive, Corpus, Skipped, audio_files
from ser_generalize.schema import SourceClip

SEXES = {"bea": "female", "jenie": "female", "josh": "male", "sam": "male"}
# The corpus has two words for most emotions, one in the names of files and one in those of folders.
FOLDER_WORDS = {
    "amused": "Amused",
    "anger": "Angry",
    "disgust": "Disgusted",
    "neutral": "Neutral",
    "sleepiness": "Sleepy",
}
ARCHIVES = [
    f"{speaker}_{word}"
    for speaker in SEXES
    for word in FOLDER_WORDS.values()
    if (speaker, word) not in {("josh", "Angry"), ("josh", "Disgusted")}  # he has neither
]
# The end of the folder's path: bea_Amused as on OpenSLR, bea/Amused in the older "sorted" copy.
FOLDER = r"(?:.*/)?({})[_/]({})".format("|".join(SEXES), "|".join(FOLDER_WORDS.values()))

CORPUS = Corpus(
    name="emov_db",
    title="EmoV-DB, the Emotional Voices Database",
    home="https://github.com/numediart/EmoV-DB",
    licence="LicenseRef-EmoV-DB-non-commercial",
    licence_url="https://github.com/numediart/EmoV-DB/blob/master/LICENSE.md",
    redistribution="private",  # the licence limits use and says nothing of passing it on
    access="Download the 18 archives from [OpenSLR](https://openslr.org/115/), each into a folder "
    "of its name such as `bea_Amused`; to use them is to agree to non-commercial purposes.",
    citation="""@misc{adigwe2018emotional,
  title = {The Emotional Voices Database: Towards Controlling the Emotion Dimension in Voice
           Generation Systems},
  author = {Adigwe, Adaeze and Tits, No{\\'e} and El Haddad, Kevin and Ostadabbas, Sarah
            and Dutoit, Thierry},
  year = {2018},
  eprint = {1806.09514},
  archivePrefix = {arXiv}
}""",
    languages=("en",),
    elicitation="acted",
    label_source="acted",
    labels={
        "amused": "amused",
        "anger": "angry",
        "disgust": "disgusted",
        "neutral": "neutral",
        "sleepiness": "sleepy",
    },
    # emotion, range of sentences in the recording session, sentence
    file_pattern=r"(?i:(amused|anger|disgust|neutral|sleepiness))_(\d+)[-_](\d+)_(\d{4})\.(?i:wav)",
    file_example="amused_1-28_0001.wav",
    expected_clips={
        "amused": 1_317,
        "anger": 1_268,
        "disgust": 1_019,
        "neutral": 1_568,
        "sleepiness": 1_721,
    },
    expected_speakers=4,
    expected_speaker_clips={"bea": 1_787, "jenie": 1_790, "josh": 863, "sam": 2_453},
    archives=tuple(
        Archive(f"https://www.openslr.org/resources/115/{name}.tar.gz") for name in ARCHIVES
    ),
    known_faults=(
        "josh recorded neither anger nor disgust.",
        "Six sentences were recorded twice by one speaker in one emotion, in other sessions; "
        "both are kept.",
        "Laughs and yawns often come before the sentence.",
        "bea was recorded at 44.1 kHz, the others at 16 kHz: the rate gives her away.",
    ),
)


def parse(root: Path) -> Iterator[SourceClip | Skipped]:
    """Yield every clip below a folder, in the OpenSLR layout or the sorted one."""
    for path in audio_files(root):
        if match := re.fullmatch(CORPUS.file_pattern, path.name):
            emotion, first, last, sentence = match.groups()
            yield _clip(path, emotion.lower(), f"{int(first)}-{int(last)}", sentence)


def _clip(path: Path, emotion: str, session: str, sentence: str) -> SourceClip | Skipped:
    folder = re.fullmatch(FOLDER, path.absolute().parent.as_posix(), re.IGNORECASE)
    if not folder:
        return Skipped(path, "in no folder of a speaker and an emotion, such as bea_Amused")
    if folder[2].lower() != FOLDER_WORDS[emotion].lower():
        return Skipped(path, f"its name says {emotion}, its folder {folder[2]}")
    speaker = folder[1].lower()
    return SourceClip(
        path=path,
        # With the session in it, because a sentence may occur twice.
        name=f"{speaker}_{emotion}_{session}_{sentence}",
        native_label=emotion,
        speaker=speaker,
        language="en",
        sex=SEXES[speaker],
        text=f"arctic_a{sentence}",
    )
