"""How an answer looks: what is written is escaped, and colours are told apart by every eye."""

from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import numpy as np
import pictures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listening import Answer, Recording, Stretch
from make_encoder import sound
from theme import NIGHT, PAPER, TONES, style, tones

from ser_generalize.labels import EMOTIONS, FIVE
from ser_generalize.predict import Prediction
from ser_generalize.protocols import PROTOCOLS

# Linear RGB as seen without one of the cones: Machado, Oliveira & Fernandes 2009, severity 1.
EYES = {
    "all cones": np.eye(3),
    "no long": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                [-0.003882, -0.048116, 1.051998]],
    "no middle": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                  [-0.011820, 0.042940, 0.968881]],
    "no short": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                 [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                   [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
SEVEN = (*FIVE, "fearful", "disgusted")
APART = 10.0  # CIE 1976 colour difference; 2.3 is just noticeable


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(colour: str, eye: str) -> np.ndarray:
    seen = np.clip(np.asarray(EYES[eye]) @ linear(colour), 0, 1)
    x, y, z = np.cbrt(TO_XYZ @ seen / TO_XYZ.sum(axis=1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(colour: str, ground: str) -> float:
    """The ratio of WCAG 2.1."""
    light, dark = sorted((TO_XYZ[1] @ linear(one) for one in (colour, ground)), reverse=True)
    return float((light + 0.05) / (dark + 0.05))


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_the_usual_colours_are_told_apart(eye: str, mode: int) -> None:
    for one, other in combinations(SEVEN, 2):
        difference = lab(TONES[one][mode], eye) - lab(TONES[other][mode], eye)
        assert np.linalg.norm(difference) > APART, (one, other)


@pytest.mark.parametrize("emotion", TONES)
def test_every_colour_stands_out_from_its_ground(emotion: str) -> None:
    for colour, ground in zip(TONES[emotion], (PAPER, NIGHT), strict=True):
        assert contrast(colour, ground) >= 3


@given(st.lists(st.sampled_from(EMOTIONS), unique=True, min_size=1, max_size=len(TONES)))
@settings(deadline=None)
def test_no_two_emotions_of_a_checkpoint_share_a_colour(emotions: list[str]) -> None:
    chosen = tones(emotions)
    assert len(set(chosen.values())) == len(emotions)
    assert all(f"{tone[4:-1]}: #" in style() for tone in chosen.values())


class Text(HTMLParser):
    """What a page shows, and the elements it is made of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.shown, self.tags, self.labels = "", [], []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.labels += [value or "" for name, value in attributes if name == "aria-label"]
        assert not [name for name, _ in attributes if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.shown += data


def heard(chances: dict[str, float] | None, below: float | None = None) -> Prediction:
    return Prediction(Path("x"), 0.0, 4.0, chances, below)


def answered(chances: dict[str, float] | None, name: str = "a.wav", **how: float) -> Text:
    recording = Recording(name, sound(8.0))
    whole = heard(chances, how.get("below"))
    timeline = (Stretch(0.0, 3.0, whole), Stretch(3.0, 8.0, heard(None)))
    return Text(pictures.answer(Answer("tiny", recording, whole, timeline)))


def test_an_answer_says_in_words_what_it_shows() -> None:
    page = answered({"happy": 0.7, "sad": 0.3}, below=0.6)
    for words in ("Sounds happy", "70% sure", "It answers from 60% on", "sad30%", "8.0 s"):
        assert words in page.shown, words
    assert {"What is heard over time", "Waveform of a.wav, 8.0 s", "Play a.wav"} <= {*page.labels}
    assert "0:00 to 0:03: happy" in page.shown and "0:03 to 0:08: silence" in page.shown


def test_a_model_that_is_not_sure_says_why() -> None:
    page = answered({"happy": 0.55, "sad": 0.45}, below=0.6)
    assert "Not sure" in page.shown and "happy is likeliest, at 55%" in page.shown


def test_silence_has_no_bars() -> None:
    assert "Silence" in answered(None).shown


@given(name=st.text(min_size=1, max_size=30))
@settings(max_examples=30, deadline=None)
def test_what_somebody_wrote_is_shown_and_never_markup(name: str) -> None:
    plain, written = answered({"happy": 1.0}), answered({f"<i>{name}</i>": 1.0}, f"<b>{name}</b>")
    assert [tag for tag in written.tags if tag in ("b", "i", "script")] == [
        tag for tag in plain.tags if tag in ("b", "i", "script")
    ]
    refused = Text(pictures.refusal(f"<script>{name}"))
    assert refused.tags == ["div", "p", "p"]


def test_a_checkpoint_says_what_it_learnt_from_and_whether_that_was_made_up() -> None:
    held = {"clips": 1200, "speakers": 4, "languages": ["en"], "elicitation": ["acted"]}
    real, made_up = {"savee": held}, {"tess": held | {"elicitation": ["synthetic"]}}
    page = Text(pictures.gist({"corpora": real | made_up}))
    assert "Learnt from savee, tess: 2,400 clips of 8 speakers." in page.shown
    assert "Fabricated training data: tess." in page.shown
    assert "Fabricated" not in Text(pictures.gist({"corpora": real})).shown
    assert "does not say" in Text(pictures.gist({})).shown
    about = Text(pictures.about_checkpoint("x", {"corpora": real, "protocol": "loso"}, ["happy"]))
    assert "1,200" in about.shown and PROTOCOLS["loso"].title in about.shown
