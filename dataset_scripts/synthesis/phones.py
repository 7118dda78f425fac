"""The sounds of speech, named as in ARPAbet, and the bursts that are made of them."""

from typing import NamedTuple

from ser_generalize.errors import InputError, one_of


class Phone(NamedTuple):
    """One sound: its formant targets in a male tract (Hz), and how much of each source it gets."""

    milliseconds: float
    f1: float
    f2: float
    f3: float
    voicing: float = 1.0  # amplitude of the glottal source
    noise: float = 0.0  # amplitude of the frication source
    noise_hz: float = 3300.0  # centre of the frication
    stress: float = 0.0  # 0 or 1, from the text


# Vowels after Peterson & Barney (1952), consonants after Klatt (1980, table II); ARPAbet names.
PHONES = {
    "|": Phone(0, 500, 1500, 2500, 0),  # a word boundary: a pause if the speaker makes one
    "IY": Phone(90, 270, 2290, 3010), "IH": Phone(70, 390, 1990, 2550),
    "EH": Phone(80, 530, 1840, 2480), "AE": Phone(100, 660, 1720, 2410),
    "AA": Phone(100, 730, 1090, 2440), "AO": Phone(100, 570, 840, 2410),
    "UH": Phone(70, 440, 1020, 2240), "UW": Phone(90, 300, 870, 2240),
    "AH": Phone(70, 640, 1190, 2390), "ER": Phone(90, 490, 1350, 1690),
    "W": Phone(55, 290, 610, 2150, 0.6), "Y": Phone(50, 260, 2070, 3020, 0.6),
    "R": Phone(60, 310, 1060, 1380, 0.6), "L": Phone(55, 310, 1050, 2880, 0.6),
    "M": Phone(60, 280, 1270, 2130, 0.4), "N": Phone(55, 280, 1340, 2470, 0.4),
    "NG": Phone(65, 280, 2000, 2900, 0.4), "HH": Phone(50, 500, 1500, 2500, 0, 0.15, 1500),
    "F": Phone(80, 340, 1100, 2080, 0, 0.1, 7000), "V": Phone(50, 220, 1100, 2080, 0.4, 0.05, 7000),
    "S": Phone(90, 320, 1390, 2530, 0, 0.35, 6500), "Z": Phone(70, 240, 1390, 2530, 0.3, 0.2, 6500),
    "SH": Phone(95, 300, 1840, 2750, 0, 0.4), "DH": Phone(45, 270, 1290, 2540, 0.4, 0.05, 7000),
    "ZH": Phone(70, 300, 1840, 2750, 0.3, 0.2), "TH": Phone(75, 320, 1290, 2540, 0, 0.1, 7000),
    "P": Phone(25, 400, 1100, 2150, 0, 0.25, 900), "B": Phone(13, 200, 1100, 2150, 0.3, 0.15, 900),
    "T": Phone(35, 400, 1600, 2600, 0, 0.4, 4500), "D": Phone(13, 200, 1600, 2600, 0.3, 0.25, 4000),
    "K": Phone(38, 300, 1990, 2850, 0, 0.4, 2000), "G": Phone(17, 200, 1990, 2850, 0.3, 0.25, 1900),
}  # fmt: skip
CLOSURES = {"P": 0.0, "T": 0.0, "K": 0.0, "B": 0.12, "D": 0.12, "G": 0.12}  # voicing meanwhile
PAIRS = {"EY": ("EH", "IY"), "AY": ("AA", "IH"), "OY": ("AO", "IH"), "AW": ("AA", "UH"),
         "OW": ("AO", "UH"), "CH": ("T", "SH"), "JH": ("D", "ZH")}  # fmt: skip
# What people utter without words: laughs, sobs, screams, gasps, sighs; a list of its own for each.
BURSTS = {
    "neutral": "M M AH0 M",
    "happy": "HH AA1 HH AA1 HH AA1 HH AA0 HH AA0",
    "excited": "W UW1 W UW1 HH UW1",
    "amused": "HH EH1 HH EH1 HH EH0",
    "pleasure": "M M AA1 AA1 M M",
    "sad": "HH AH1 AH0 | HH AH1 AH0 | HH AH1 AH0",
    "angry": "G R AA1 R AA1 R",
    "surprised": "HH AA1 AA1",
    "fearful": "AA1 AA1 AA1 AA1 AA1 AA1",
    "disgusted": "Y UW1 AH1 HH HH",
    "bored": "HH AA1 AA0 AH0 HH HH",
    "pain": "AW1 AW1 AH0 HH",
    "disappointed": "AH1 AO0 HH HH",
    "breath": "HH AH0 HH HH | HH AH0 HH HH",
}


def pronounce(text: str) -> list[Phone]:
    """Return the sounds of an ARPAbet text, with stress; a stop is a closure, then a burst."""
    phones: list[Phone] = []
    for symbol in text.split():
        name, stress = symbol.rstrip("012"), float(symbol.endswith("1"))
        for part in PAIRS.get(name, (name,)):
            phone = PHONES[one_of("phone", part, [*PHONES, *PAIRS])]._replace(stress=stress)
            if part in CLOSURES:
                phones.append(phone._replace(milliseconds=45, voicing=CLOSURES[part], noise=0))
            phones.append(phone)
    if not any(phone.milliseconds for phone in phones):
        raise InputError("a text without phones cannot be spoken; give ARPAbet such as 'K IH1 D Z'")
    return phones
