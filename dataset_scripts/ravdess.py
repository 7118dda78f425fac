"""RAVDESS speech: 24 North American actors, two sentences, eight emotions at two intensities."""

import re
from collections.abc import Iterator
from pathlib import Path

from dataset_scripts.corpus import Archive, Corpus, Skipped, audio_files
from ser_generalize.schema import SourceClip

EMOTION_CODES = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}

CORPUS = Corpus(
    name="ravdess",
    title="RAVDESS, speech part",
    home="https://zenodo.org/records/1188976",
    licence="CC-BY-NC-SA-4.0",
    licence_url="https://creativecommons.org/licenses/by-nc-sa/4.0/",
    redistribution="public",
    access="Download it from Zenodo; nothing has to be signed.",
    citation="""@article{livingstone2018ravdess,
  title = {The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS)},
  author = {Livingstone, Steven R. and Russo, Frank A.},
  journal = {PLoS ONE},
  volume = {13},
  number = {5},
  pages = {e0196391},
  year = {2018},
  doi = {10.1371/journal.pone.0196391}
}""",
    languages=("en",),
    elicitation="acted",
    label_source="acted",
    labels={
        "neutral": "neutral",
        "calm": "calm",
        "happy": "happy",
        "sad": "sad",
        "angry": "angry",
        "fearful": "fearful",
        "disgust": "disgusted",
        "surprised": "surprised",
    },
    # Modality and channel are pinned to audio-only speech: video and song files share the grammar.
    file_pattern=r"03-01-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)\.(?i:wav)",
    file_example="03-01-05-01-02-01-12.wav",
    expected_clips={
        "neutral": 96,
        "calm": 192,
        "happy": 192,
        "sad": 192,
        "angry": 192,
        "fearful": 192,
        "disgust": 192,
        "surprised": 192,
    },
    expected_speakers=24,
    expected_speaker_clips={f"{actor:02}": 60 for actor in range(1, 25)},
    archives=(
        Archive(
            "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
            "md5:bc696df654c87fed845eb13823edef8a",
            208_468_073,
        ),
    ),
    known_faults=(
        "03-01-03-01-02-01-07 and 03-01-03-01-02-02-07 are the same recording; one is kept.",
        "Neutral was not acted at strong intensity, so it has half as many clips as the rest.",
    ),
)


def parse(root: Path) -> Iterator[SourceClip | Skipped]:
    """Yield every speech clip below a folder, however deep the Actor_XX folders are nested."""
    for path in audio_files(root):
        if match := re.fullmatch(CORPUS.file_pattern, path.name):
            emotion, intensity, statement, _repetition, actor = match.groups()
            yield SourceClip(
                path=path,
                name=path.stem,
                native_label=EMOTION_CODES[emotion],
                speaker=actor,
                language="en",
                sex="male" if int(actor) % 2 else "female",
                text=statement,
                transcript=STATEMENTS[statement],
                intensity=INTENSITIES[intensity],
            )
