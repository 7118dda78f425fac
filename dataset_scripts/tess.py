"""TESS: two Toronto women, one carrier sentence with 200 words, seven emotions."""

import re
from collections.abc import Iterator
from pathlib import Path

from dataset_scripts.corpus import Archive, Corpus, Skipped, audio_files
from ser_generalize.schema import SourceClip

EMOTION_WORDS = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "pleasant surprise",
    "sad": "sad",
}
AGES = {"OAF": 64, "YAF": 26}  # years; the older and the younger adult female
MISSPELT = {"OA": "OAF"}  # OA_bite_neutral.wav, in the copy that most people have

CORPUS = Corpus(
    name="tess",
    title="TESS, the Toronto Emotional Speech Set",
    home="https://doi.org/10.5683/SP2/E8H2MF",
    licence="CC-BY-NC-ND-4.0",
    licence_url="https://creativecommons.org/licenses/by-nc-nd/4.0/",
    redistribution="private",  # 16-kHz FLAC is a derivative
    access="Download it from [Borealis](https://doi.org/10.5683/SP2/E8H2MF) or "
    "[TSpace](https://tspace.library.utoronto.ca/handle/1807/24487); nothing has to be signed.",
    citation="""@misc{pichorafuller2020tess,
  title = {Toronto Emotional Speech Set ({TESS})},
  author = {Pichora-Fuller, M. Kathleen and Dupuis, Kate},
  publisher = {Borealis},
  year = {2020},
  doi = {10.5683/SP2/E8H2MF}
}""",
    languages=("en-CA",),
    elicitation="acted",
    label_source="acted",
    labels={
        "angry": "angry",
        "disgust": "disgusted",
        "fear": "fearful",
        "happy": "happy",
        "neutral": "neutral",
        "pleasant surprise": "surprised",
        "sad": "sad",
    },
    # The folders of one emotion are called Pleasant_surprise and pleasant_surprised: only file
    # names are consistent.
    file_pattern=r"(OAF?|YAF)_([a-z]+)_(angry|disgust|fear|happy|neutral|ps|sad)\.(?i:wav)",
    file_example="OAF_back_angry.wav",
    expected_clips=dict.fromkeys(EMOTION_WORDS.values(), 400),
    expected_speakers=2,
    expected_speaker_clips={"OAF": 1_400, "YAF": 1_400},
    archives=(
        # PaddleAudio's mirror: Borealis gives no address of one file that lasts.
        Archive(
            "https://bj.bcebos.com/paddleaudio/datasets/TESS_Toronto_emotional_speech_set.zip",
            "md5:1465311b24d1de704c4c63e4ccc470c7",
        ),
    ),
    known_faults=(
        "Every word is said in every emotion by both speakers: a random split leaks all texts.",
        "Surprise is pleasant surprise only.",
        "YAF_germ_angry and YAF_neat_fear are AIFF files with a .wav name, OAF_food_fear has "
        "96 kHz, all others the unusual 24,414 Hz.",
    ),
)


def parse(root: Path) -> Iterator[SourceClip | Skipped]:
    """Yield every clip below a folder; some copies hold the whole tree twice."""
    for path in audio_files(root):
        if match := re.fullmatch(CORPUS.file_pattern, path.name):
            prefix, word, emotion = match.groups()
            speaker = MISSPELT.get(prefix, prefix)
            yield SourceClip(
                path=path,
                name=f"{speaker}_{word}_{emotion}",
                native_label=EMOTION_WORDS[emotion],
                speaker=speaker,
                language="en-CA",
                sex="female",
                age=AGES[speaker],
                text=word,
                transcript=f"Say the word {word}.",
            )
