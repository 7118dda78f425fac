"""EmoDB (Berlin): ten German actors, ten sentences, seven emotions; not one of the eleven."""

import re
from collections.abc import Iterator
from pathlib import Path

from dataset_scripts.corpus import Corpus, Skipped, audio_files
from ser_generalize.schema import SourceClip

EMOTION_LETTERS = {  # the first letters of the German words
    "N": "neutral",
    "F": "happiness",
    "T": "sadness",
    "W": "anger",
    "A": "fear",
    "E": "disgust",
    "L": "boredom",
}
SPEAKERS = {  # sex and age in years
    "03": ("male", 31),
    "08": ("female", 34),
    "09": ("female", 21),
    "10": ("male", 32),
    "11": ("male", 26),
    "12": ("male", 30),
    "13": ("female", 32),
    "14": ("female", 35),
    "15": ("male", 25),
    "16": ("female", 31),
}
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}

CORPUS = Corpus(
    name="emodb",
    title="EmoDB, the Berlin Database of Emotional Speech",
    home="http://emodb.bilderbar.info/",
    licence="LicenseRef-EmoDB-free-with-attribution",
    licence_url="http://emodb.bilderbar.info/",
    redistribution="gated",
    access="Download it from its home page; nothing has to be signed.",
    citation="""@inproceedings{burkhardt2005database,
  title = {A Database of German Emotional Speech},
  author = {Burkhardt, Felix and Paeschke, Astrid and Rolfes, Miriam and Sendlmeier, Walter F.
            and Weiss, Benjamin},
  booktitle = {Interspeech},
  pages = {1517--1520},
  year = {2005},
  doi = {10.21437/Interspeech.2005-446}
}""",
    languages=("de",),
    elicitation="acted",
    label_source="acted",
    labels={
        "neutral": "neutral",
        "happiness": "happy",
        "sadness": "sad",
        "anger": "angry",
        "fear": "fearful",
        "disgust": "disgusted",
        "boredom": "bored",
    },
    file_pattern=r"(\d\d)([ab]\d\d)([NFTWAEL])([a-z])\.(?i:wav)",
    file_example="03a01Fa.wav",
    expected_clips={
        "neutral": 79,
        "happiness": 71,
        "sadness": 62,
        "anger": 127,
        "fear": 69,
        "disgust": 46,
        "boredom": 81,
    },
    expected_speakers=10,
    known_faults=("Takes that listeners did not recognise were removed, so speakers lack some.",),
)


def parse(root: Path) -> Iterator[SourceClip | Skipped]:
    """Yield every clip below a folder."""
    for path in audio_files(root):
        if match := re.fullmatch(CORPUS.file_pattern, path.name):
            speaker, sentence, emotion, _version = match.groups()
            sex, age = SPEAKERS.get(speaker, (None, None))
            yield SourceClip(
                path=path,
                name=path.stem,
                native_label=EMOTION_LETTERS[emotion],
                speaker=speaker,
                language="de",
                sex=sex,
                age=age,
                text=sentence,
                transcript=SENTENCES.get(sentence),
            )
