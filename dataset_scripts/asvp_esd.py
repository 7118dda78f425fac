"""ASVP-ESD: speech, and laughs, sobs and screams, of 131 people, cut out of videos and films."""

import re
from collections.abc import Iterator
from pathlib import Path

from dataset_scripts.corpus import Archive, Corpus, Skipped, audio_files
from ser_generalize.schema import SourceClip

EMOTION_CODES = {
    "01": "boredom",
    "02": "neutral",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
    "09": "excited",
    "10": "pleasure",
    "11": "pain",
    "12": "disappointment",
    "13": "breath",
}
VOCALISATIONS = {"01": "speech", "02": "burst"}
INTENSITIES = {"01": "normal", "02": "high"}  # a dozen names have something else here
# The README names these three and calls the rest "Russian and others". Other projects read the
# codes in another way, and names without a language have the next field in its place.
LANGUAGES = {"01": "zh", "02": "en", "04": "fr"}
BABY = "04"
FILM = "03"

CORPUS = Corpus(
    name="asvp_esd",
    title="ASVP-ESD",
    home="https://zenodo.org/records/7132783",
    licence="LicenseRef-ASVP-ESD-unclear",
    licence_url="https://zenodo.org/records/7132783",
    redistribution="private",  # whatever the record says, the authors do not own web videos
    access="Download it from [Zenodo](https://zenodo.org/records/7132783); nothing has to be "
    "signed, but the recordings come out of films and web videos, so do not pass them on.",
    citation="""@article{landry2020asvp,
  title = {{ASVP-ESD}: A Dataset and its Benchmark for Emotion Recognition Using Both Speech and
           Non-Speech Utterances},
  author = {Landry, Dejoli Tientcheu Touko and He, Qianhua and Yan, Haikang and Li, Yanxiong},
  journal = {Global Scientific Journals},
  volume = {8},
  number = {6},
  pages = {1793--1798},
  year = {2020}
}""",
    languages=("zh", "en", "fr", "und"),
    elicitation="natural",
    label_source="perceived",
    labels={
        "boredom": "bored",
        "neutral": "neutral",
        "happy": "happy",
        "sad": "sad",
        "angry": "angry",
        "fearful": "fearful",
        "disgust": "disgusted",
        "surprised": "surprised",
        "excited": "excited",
        "pleasure": "pleasure",
        "pain": "pain",
        "disappointment": "disappointed",
        "breath": "breath",
    },
    # Eight to twelve fields; seven would be RAVDESS. The first eight have a fixed place: modality,
    # vocal channel, emotion, intensity, statement, actor, age, source. Five names hold a space.
    file_pattern=(r"03-(0[12])-(\d\d)-(\d+)-(\d+)-(\d+)-(\d+)-(\d+)((?: ?-\d+){0,4})\.(?i:wav)"),
    file_example="03-01-06-01-02-12-02-01-01-16.wav",
    # Audio and Bonus together; one of the 13,964 names has an emotion that nothing explains.
    expected_clips={
        "boredom": 548,
        "neutral": 1_598,
        "happy": 1_868,
        "sad": 2_694,
        "angry": 1_453,
        "fearful": 1_180,
        "disgust": 899,
        "surprised": 1_586,
        "excited": 401,
        "pleasure": 365,
        "pain": 834,
        "disappointment": 365,
        "breath": 172,
    },
    expected_speakers=131,
    archives=(Archive("https://zenodo.org/records/7132783/files/ASVP-ESD-Update.zip"),),
    known_faults=(
        "Two clips of three are bursts: laughs, sobs, screams. They stand outside the label sets.",
        "Sources disagree about the licence and about what the language codes mean; a language is "
        "given where the README of the corpus names it, and is `und` elsewhere.",
        "Speakers are the actors of the file names. Sixteen clips lie in another actor's folder, "
        "and actors 0, 50, 150 and 200 (the last three hold babies) may be several people each.",
        "Sex follows the actor's parity, as the corpus defines it; babies have none.",
        "Names that end in 77 are noisy (270), in 66 have more than one voice (354).",
        "Clips are cut out of longer videos: those of one actor may share a room and a microphone.",
    ),
)


def parse(root: Path) -> Iterator[SourceClip | Skipped]:
    """Yield every clip below a folder, of Audio and of Bonus; the folders' names do not matter."""
    for path in audio_files(root):
        if match := re.fullmatch(CORPUS.file_pattern, path.name):
            channel, emotion, intensity, _statement, actor, age, source, rest = match.groups()
            if emotion not in EMOTION_CODES:
                yield Skipped(path, f"{emotion} is no emotion of the corpus")
                continue
            language = rest.split("-")[1] if rest else ""  # "-02-16": the field after the source
            yield SourceClip(
                path=path,
                name=path.stem.replace(" ", ""),
                native_label=EMOTION_CODES[emotion],
                speaker=str(int(actor)),
                language=LANGUAGES.get(language.strip(), "und"),
                sex=None if age.startswith(BABY) else "female" if int(actor) % 2 else "male",
                intensity=INTENSITIES.get(intensity),
                vocalisation=VOCALISATIONS[channel],
                elicitation="acted" if source == FILM else None,
            )
