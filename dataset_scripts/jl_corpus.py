"""JL-Corpus: four New Zealanders, five primary and five secondary emotions, 15 sentences each."""

import re
from collections.abc import Iterator
from pathlib import Path

from dataset_scripts.corpus import Corpus, Skipped, audio_files
from ser_generalize.schema import SourceClip

PRIMARY = ("angry", "excited", "happy", "neutral", "sad")
SECONDARY = ("anxious", "apologetic", "assertive", "concerned", "encouraging")
# What the corpus's documents call three of the secondary emotions.
SYNONYMS = {"pensive": "assertive", "worried": "concerned", "enthusiastic": "encouraging"}
# Those that the corpus's annotations confirm; for the rest there is the .txt beside the recording.
SENTENCES = {
    "1": "Tom beats that farmer.",
    "2": "John laughs like your father.",
    "3": "The seed is buried in deep.",
    "4": "Taylor likes stewed Asian food.",
}

CORPUS = Corpus(
    name="jl_corpus",
    title="JL-Corpus",
    home="https://www.kaggle.com/datasets/tli725/jl-corpus",
    licence="CC0-1.0",
    licence_url="https://creativecommons.org/publicdomain/zero/1.0/",
    redistribution="public",
    access="Download it from [Kaggle](https://www.kaggle.com/datasets/tli725/jl-corpus), which "
    "asks for an account.",
    citation="""@inproceedings{james2018open,
  title = {An Open Source Emotional Speech Corpus for Human Robot Interaction Applications},
  author = {James, Jesin and Tian, Li and Watson, Catherine Inez},
  booktitle = {Interspeech},
  pages = {2768--2772},
  year = {2018},
  doi = {10.21437/Interspeech.2018-1349}
}""",
    languages=("en-NZ",),
    elicitation="acted",
    label_source="acted",
    labels={emotion: emotion for emotion in (*PRIMARY, *SECONDARY)},
    # The last two fields are session and take, it is not documented which is which.
    file_pattern=r"(female|male)([12])_({})_(1[0-5]|[1-9])([ab])_([12])\.(?i:wav)".format(
        "|".join((*PRIMARY, *SECONDARY, *SYNONYMS))
    ),
    file_example="female1_angry_10a_1.wav",
    expected_clips=dict.fromkeys((*PRIMARY, *SECONDARY), 240),
    expected_speakers=4,
    expected_speaker_clips=dict.fromkeys(("female1", "female2", "male1", "male2"), 600),
    known_faults=(
        "Sentences 1 to 10 are the same in all ten emotions and for all speakers.",
        "The Kaggle archive holds some recordings a second time; each is kept once.",
    ),
)


def parse(root: Path) -> Iterator[SourceClip | Skipped]:
    """Yield every clip below a folder; transcripts come from the .txt beside each, where it is."""
    for path in audio_files(root):
        if match := re.fullmatch(CORPUS.file_pattern, path.name):
            sex, person, word, number, part, repetition = match.groups()
            emotion = SYNONYMS.get(word, word)
            text = _text(emotion, int(number))
            yield SourceClip(
                path=path,
                name=f"{sex}{person}_{emotion}_{number}{part}_{repetition}",
                native_label=emotion,
                speaker=f"{sex}{person}",
                language="en-NZ",
                sex=sex,
                text=text,
                transcript=_transcript(path) or SENTENCES.get(text),
            )


def _text(emotion: str, number: int) -> str:
    """Return the id of a sentence: which of them emotions share depends on its number."""
    if number <= 10:
        return str(number)
    if emotion in PRIMARY:
        return f"primary-{number}"
    return f"secondary-{number}" if number <= 13 else f"{emotion}-{number}"


def _transcript(path: Path) -> str | None:
    beside = path.with_suffix(".txt")
    if not beside.is_file():
        return None
    return " ".join(beside.read_text(encoding="utf-8-sig", errors="replace").split()) or None
