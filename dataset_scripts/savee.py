"""SAVEE: four British men, 15 TIMIT sentences an emotion, seven emotions."""

import re
from collections.abc import Iterator
from pathlib import Path

from dataset_scripts.corpus import Corpus, Skipped, audio_files
from ser_generalize.schema import SourceClip

EMOTION_CODES = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}
SPEAKERS = ("DC", "JE", "JK", "KL")

CORPUS = Corpus(
    name="savee",
    title="SAVEE, Surrey Audio-Visual Expressed Emotion",
    home="http://kahlan.eps.surrey.ac.uk/savee/",
    licence="LicenseRef-SAVEE-research-only",
    licence_url="http://kahlan.eps.surrey.ac.uk/savee/Register.html",
    redistribution="private",
    access="[Register](http://kahlan.eps.surrey.ac.uk/savee/Register.html) to get "
    "`AudioData.zip`, free for research.",
    citation="""@incollection{haq2010multimodal,
  title = {Multimodal Emotion Recognition},
  author = {Haq, Sanaul and Jackson, Philip J. B.},
  booktitle = {Machine Audition: Principles, Algorithms and Systems},
  editor = {Wang, Wenwu},
  publisher = {IGI Global},
  chapter = {17},
  year = {2010}
}""",
    languages=("en-GB",),
    elicitation="acted",
    label_source="acted",
    labels={
        "anger": "angry",
        "disgust": "disgusted",
        "fear": "fearful",
        "happiness": "happy",
        "neutral": "neutral",
        "sadness": "sad",
        "surprise": "surprised",
    },
    # DC_a01.wav, DCa01.wav, or a01.wav in a folder DC; neutral alone has sentences above 15.
    file_pattern=r"(?:(DC|JE|JK|KL)_?)?(sa|su|[adfhn])"
    r"(0[1-9]|1[0-5]|(?<=n)(?:1[6-9]|2\d|30))\.(?i:wav)",
    file_example="DC_a01.wav",
    expected_clips={
        "anger": 60,
        "disgust": 60,
        "fear": 60,
        "happiness": 60,
        "neutral": 120,
        "sadness": 60,
        "surprise": 60,
    },
    expected_speakers=4,
    expected_speaker_clips=dict.fromkeys(SPEAKERS, 120),
    known_faults=(
        "All four speakers are men.",
        "Sentences 01 to 03 are the same in every emotion; some neutral sentences after 03 are "
        "those of other emotions, it is not documented which, so that they have ids of their own.",
    ),
)


def parse(root: Path) -> Iterator[SourceClip | Skipped]:
    """Yield every clip below a folder, in any of the three layouts."""
    for path in audio_files(root):
        match = re.fullmatch(CORPUS.file_pattern, path.name)
        if match and (speaker := match[1] or _folder_of_a_speaker(path)):
            emotion, number = EMOTION_CODES[match[2]], match[3]
            yield SourceClip(
                path=path,
                name=f"{speaker}_{match[2]}{number}",
                native_label=emotion,
                speaker=speaker,
                language="en-GB",
                sex="male",
                text=f"common-{number}" if number <= "03" else f"{emotion}-{number}",
            )


def _folder_of_a_speaker(path: Path) -> str | None:
    """Return the speaker of a bare `a01.wav`: elsewhere such a name could be anybody's."""
    return path.parent.name if path.parent.name in SPEAKERS else None
