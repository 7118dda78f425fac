"""Sentences that nobody recorded, and how they sound: no corpus's texts are copied."""

from typing import NamedTuple

from dataset_scripts.synthesis.randomness import generator
from ser_generalize.errors import one_of


class Text(NamedTuple):
    """What is said: as it is written, and in ARPAbet."""

    written: str
    phones: str


# Who, does, what: English ears will have to do for the sounds of the other languages.
WORDS: dict[str, tuple[dict[str, str], ...]] = {
    "en": (
        {"the baker": "DH AH0 | B EY1 K ER0", "my brother": "M AY1 | B R AH1 DH ER0",
         "a pilot": "AH0 | P AY1 L AH0 T", "our teacher": "AW1 ER0 | T IY1 CH ER0",
         "nobody": "N OW1 B AH0 D IY0", "the painter": "DH AH0 | P EY1 N T ER0"},
        {"carried": "K AE1 R IY0 D", "opened": "OW1 P AH0 N D", "counted": "K AW1 N T IH0 D",
         "followed": "F AA1 L OW0 D", "borrowed": "B AA1 R OW0 D", "painted": "P EY1 N T IH0 D"},
        {"the lantern": "DH AH0 | L AE1 N T ER0 N", "seven apples": "S EH1 V AH0 N | AE1 P AH0 L Z",
         "a blue boat": "AH0 | B L UW1 | B OW1 T", "the gate": "DH AH0 | G EY1 T",
         "an old violin": "AE0 N | OW1 L D | V AY0 AH0 L IH1 N", "his map": "HH IH1 Z | M AE1 P"},
    ),
    "zh": (
        {"我们": "W AO1 M AH0 N", "老师": "L AW1 SH ER0", "小王": "SH Y AW1 W AA1 NG",
         "医生": "IY1 SH AH1 NG", "妈妈": "M AA1 M AA0", "他": "T AA1"},
        {"看见": "K AA1 N JH Y EH1 N", "买": "M AY1", "拿": "N AA1", "画": "HH W AA1",
         "找到": "JH AW1 D AW0", "数": "SH UW1"},
        {"苹果": "P IH1 NG G W AO1", "大船": "D AA1 CH W AA1 N", "花": "HH W AA1",
         "水": "SH W EY1", "地图": "D IY1 T UW1", "灯": "D AH1 NG"},
    ),
    "it": (
        {"la zia": "L AA0 | T S IY1 AA0", "il fabbro": "IY0 L | F AA1 B R OW0",
         "mio nonno": "M IY1 OW0 | N AO1 N OW0", "nessuno": "N EH0 S UW1 N OW0"},
        {"apre": "AA1 P R EY0", "porta": "P AO1 R T AA0", "vede": "V EY1 D EY0",
         "trova": "T R AO1 V AA0"},
        {"la finestra": "L AA0 | F IY0 N EH1 S T R AA0", "sette mele": "S EH1 T EY0 | M EY1 L EY0",
         "una barca": "UW0 N AA0 | B AA1 R K AA0", "il libro": "IY0 L | L IY1 B R OW0"},
    ),
    "es": (
        {"la tía": "L AA0 | T IY1 AA0", "el panadero": "EH0 L | P AA0 N AA0 D EH1 R OW0",
         "mi abuelo": "M IY0 | AA0 B W EH1 L OW0", "nadie": "N AA1 D Y EH0"},
        {"abre": "AA1 B R EH0", "lleva": "Y EH1 V AA0", "mira": "M IY1 R AA0",
         "busca": "B UW1 S K AA0"},
        {"la ventana": "L AA0 | V EH0 N T AA1 N AA0", "el libro": "EH0 L | L IY1 B R OW0",
         "siete manzanas": "S Y EH1 T EH0 | M AA0 N S AA1 N AA0 S",
         "un barco": "UW0 N | B AA1 R K OW0"},
    ),
    "de": (
        {"die Tante": "D IY0 | T AA1 N T AH0", "der Bäcker": "D EH0 R | B EH1 K ER0",
         "mein Opa": "M AY0 N | OW1 P AA0", "niemand": "N IY1 M AA0 N T"},
        {"öffnet": "ER1 F N AH0 T", "trägt": "T R EH1 K T", "sieht": "Z IY1 T",
         "findet": "F IH1 N D AH0 T"},
        {"das Fenster": "D AA0 S | F EH1 N S T ER0", "ein Boot": "AY0 N | B OW1 T",
         "sieben Äpfel": "Z IY1 B AH0 N | EH1 P F AH0 L",
         "den Schlüssel": "D EH0 N | SH UW1 S AH0 L"},
    ),
}  # fmt: skip
UNSPACED = {"zh"}


def sentence(language: str, *key: object) -> Text:
    """Return the sentence of a language that belongs to a key: the same one every time."""
    rng = generator(language, *key)
    parts = [list(part.items()) for part in WORDS[one_of("language", language, WORDS)]]
    chosen = [part[rng.integers(len(part))] for part in parts]
    written = ("" if language in UNSPACED else " ").join(words for words, _ in chosen)
    return Text(written, " | ".join(phones for _, phones in chosen))
