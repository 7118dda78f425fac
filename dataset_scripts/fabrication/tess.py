"""TESS: two women, 24,414 Hz, folders and files named each in its own way, three odd containers."""

from collections.abc import Iterator

from dataset_scripts.fabrication.containers import Container
from dataset_scripts.fabrication.tree import Take, Tree, grid
from dataset_scripts.synthesis.channel import Channel

ROOT = "TESS Toronto emotional speech set data"
EMOTIONS = {
    "angry": "angry", "disgust": "disgusted", "fear": "fearful", "happy": "happy",
    "neutral": "neutral", "ps": "surprised", "sad": "sad",
}  # fmt: skip
FOLDERS = {  # where it is not SPEAKER_emotion
    ("OAF", "fear"): "OAF_Fear",
    ("OAF", "ps"): "OAF_Pleasant_surprise",
    ("OAF", "sad"): "OAF_Sad",
    ("YAF", "ps"): "YAF_pleasant_surprised",
}
CARRIER = "S EY1 | DH AH0 | W ER1 D | "
WORDS = {
    "bite": "B AY1 T", "germ": "JH ER1 M", "neat": "N IY1 T", "food": "F UW1 D",
    "back": "B AE1 K", "chair": "CH EH1 R", "dog": "D AO1 G", "fall": "F AO1 L",
    "gas": "G AE1 S", "home": "HH OW1 M", "join": "JH OY1 N", "king": "K IH1 NG",
    "lease": "L IY1 S", "moon": "M UW1 N", "note": "N OW1 T", "page": "P EY1 JH",
    "rain": "R EY1 N", "soup": "S UW1 P", "thumb": "TH AH1 M", "voice": "V OY1 S",
    "wash": "W AA1 SH", "yes": "Y EH1 S", "young": "Y AH1 NG", "road": "R OW1 D",
}  # fmt: skip
USUAL = Container(24_414)
ODD = {
    "YAF_germ_angry": Container(24_414, "aiff"),
    "YAF_neat_fear": Container(24_414, "aiff"),
    "OAF_food_fear": Container(96_000),
}
MISSPELT = {"OAF_bite_neutral": "OA_bite_neutral"}


def takes(speakers: int, clips: int) -> Iterator[Take]:
    """Yield the takes."""
    words = list(WORDS.items())
    for speaker, code, number in grid(("OAF", "YAF")[:speakers], dict.fromkeys(EMOTIONS, 1), clips):
        word, phones = words[number]
        name = f"{speaker}_{word}_{code}"
        folder = FOLDERS.get((speaker, code), f"{speaker}_{code}")
        yield Take(
            path=f"{ROOT}/{folder}/{MISSPELT.get(name, name)}.wav",
            speaker=speaker,
            sex="female",
            emotion=EMOTIONS[code],
            text=CARRIER + phones,
            container=ODD.get(name, USUAL),
            language="en-CA",
            transcript=f"Say the word {word}.",
        )


TREE = Tree(2, len(WORDS), Channel(low=90, high=10_500, gain=14, noise=-62, rumble=0.3), takes)
