"""The synthesiser: acoustically what the literature describes, for every emotion and sound."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import welch

from dataset_scripts.synthesis.channel import Channel, transmit
from dataset_scripts.synthesis.phones import BURSTS, pronounce
from dataset_scripts.synthesis.prosody import EMOTIONS
from dataset_scripts.synthesis.speech import MODEL_RATE, Samples, synthesise
from dataset_scripts.synthesis.voice import Voice, draw_voice
from dataset_scripts.synthesis.words import WORDS, sentence
from ser_generalize import labels
from ser_generalize.errors import InputError

VOWEL = "AA1 AA1 AA1 AA1 AA1 AA1"
SENTENCE = "D AO1 G Z | AA0 R | S IH1 T IH0 NG | B AY0 | DH AH0 | D AO1 R"


def voices(sex: str, count: int = 4) -> list[Voice]:
    return [draw_voice(sex, np.random.default_rng(seed)) for seed in range(count)]


def speak(emotion: str, voice: Voice, seed: int = 0, text: str = SENTENCE) -> Samples:
    return synthesise(emotion, voice, text, np.random.default_rng(seed))


def level(clip: Samples) -> float:
    return float(10 * np.log10(np.mean(clip**2)))


def treble(clip: Samples) -> float:
    """Return the share of energy above 1 kHz, in dB: Banse & Scherer's measure of spectral tilt."""
    hertz, power = welch(clip, MODEL_RATE, nperseg=2048)
    return float(10 * np.log10(power[(hertz > 1000) & (hertz < 8000)].sum() / power.sum()))


def f0_track(clip: Samples, low: float = 60.0, high: float = 600.0) -> Samples:
    """Return F0 in Hz by autocorrelation, one value per voiced 40-ms frame."""
    frames = sliding_window_view(clip, 1920)[::960] * np.hanning(1920)
    frames = frames[(frames**2).mean(1) > 0.1 * (frames**2).mean(1).max()]
    spectrum = np.abs(np.fft.rfft(frames, 4096)) ** 2
    correlation = np.fft.irfft(spectrum)[:, int(MODEL_RATE / high) : int(MODEL_RATE / low)]
    return np.asarray(MODEL_RATE / (correlation.argmax(1) + int(MODEL_RATE / high)))


def median_f0(clip: Samples) -> float:
    return float(np.median(f0_track(clip)))


def mean_over_clips(measure: Callable[[Samples], float], emotion: str) -> float:
    speakers = voices("male", 3) + voices("female", 3)
    clips = (speak(emotion, voice, seed) for voice in speakers for seed in (0, 1))
    return float(np.mean([measure(clip) for clip in clips]))


def test_anger_is_loud_and_bright_and_sadness_is_not():
    for measure in (level, treble):
        angry, happy, neutral, sad = (
            mean_over_clips(measure, emotion) for emotion in ("angry", "happy", "neutral", "sad")
        )
        assert angry > happy > neutral > sad, measure.__name__


def test_pitch_follows_the_emotion():
    measured = ("neutral", "calm", "happy", "sad", "angry", "fearful", "surprised")
    pitch = {emotion: mean_over_clips(median_f0, emotion) for emotion in measured}
    assert min(pitch[e] for e in ("happy", "surprised", "fearful", "angry")) > pitch["neutral"]
    assert max(pitch["sad"], pitch["calm"]) < pitch["neutral"] * 1.05

    def span(clip: Samples) -> float:
        return float(np.subtract(*np.percentile(np.log2(f0_track(clip)), [90, 10])))

    assert mean_over_clips(span, "happy") > mean_over_clips(span, "sad") * 1.3


def test_sadness_is_slow():
    assert mean_over_clips(len, "sad") > 1.2 * mean_over_clips(len, "angry")


def test_intensity_scales_the_emotion():
    voice = voices("female")[0]
    loudness = [
        level(synthesise("angry", voice, SENTENCE, np.random.default_rng(0), intensity=intensity))
        for intensity in (0.0, 0.8, 1.2)
    ]
    assert loudness == sorted(loudness)


def test_pitch_follows_the_sex():
    men = [median_f0(speak("neutral", voice, text=VOWEL)) for voice in voices("male", 8)]
    women = [median_f0(speak("neutral", voice, text=VOWEL)) for voice in voices("female", 8)]
    assert 80 < np.median(men) < 150 < np.median(women) < 280


def test_measured_pitch_is_the_speaker_s():
    for voice in voices("male") + voices("female"):
        clips = [speak("neutral", voice, seed, VOWEL) for seed in range(5)]
        measured = np.median([median_f0(clip) for clip in clips])
        assert measured == pytest.approx(voice.f0, rel=0.2)


def test_a_shorter_tract_raises_the_formants():
    def first_formant(tract: float) -> float:
        whisper = Voice(110, tract, 0.6, 2500, 40, 0, 0, 0, EMOTIONS["neutral"])  # no harmonics
        clip = speak("neutral", whisper, text="AE1 AE1 AE1 AE1 AE1 AE1 AE1 AE1")
        hertz, power = welch(clip, MODEL_RATE, nperseg=2048)
        band = (hertz > 400) & (hertz < 1200)
        return float(hertz[band][power[band].argmax()])

    assert first_formant(1.0) == pytest.approx(660, rel=0.1)
    assert first_formant(1.2) / first_formant(1.0) == pytest.approx(1.2, rel=0.06)


def test_other_rates_hold_the_same_speech():
    voice = voices("female")[0]
    wide = synthesise("happy", voice, SENTENCE, np.random.default_rng(0), 48_000)
    narrow = synthesise("happy", voice, SENTENCE, np.random.default_rng(0), 16_000)
    assert len(wide) / 48_000 == pytest.approx(len(narrow) / 16_000, abs=0.001)
    assert level(wide) == pytest.approx(level(narrow), abs=0.5)


@pytest.mark.parametrize(
    ("emotion", "text", "says"),
    [
        ("smug", SENTENCE, "unknown emotion 'smug'; choose one of: neutral, calm"),
        ("happy", "K IH1 DZ", "unknown phone 'DZ'; choose one of: "),
        ("happy", " | ", "ARPAbet"),
    ],
)
def test_synthesise_refuses(emotion, text, says):
    with pytest.raises(InputError, match=re.escape(says)):
        speak(emotion, voices("male")[0], text=text)


def test_every_emotion_of_the_closed_list_has_a_prosody():
    assert set(EMOTIONS) == set(labels.EMOTIONS) - {"other"}


@pytest.mark.parametrize("emotion", BURSTS)
def test_a_burst_is_short_and_audible(emotion):
    clip = speak(emotion, voices("female")[0], text=BURSTS[emotion])
    assert 0.4 < len(clip) / MODEL_RATE < 3
    assert np.isfinite(clip).all()
    assert -60 < level(clip) < -10


def test_all_words_can_be_pronounced():
    for language, parts in WORDS.items():
        for phones in (phones for part in parts for phones in part.values()):
            assert pronounce(phones), (language, phones)


def test_a_sentence_belongs_to_its_key():
    assert sentence("en", "savee", 3) == sentence("en", "savee", 3)
    assert len({sentence("zh", "esd", number) for number in range(20)}) > 15
    assert sentence("zh", "esd", 1).written.isalpha()
    with pytest.raises(InputError, match="unknown language 'fi'; choose one of: en, zh"):
        sentence("fi", 1)


def hiss(clip: Samples) -> float:
    """Return the level before anybody speaks, in dB."""
    return level(clip[: int(0.05 * MODEL_RATE)])


def test_a_channel_limits_the_band_and_adds_its_noise():
    dry = speak("angry", voices("male")[0])
    rng = np.random.default_rng
    wide = transmit(dry, Channel(noise=-80), MODEL_RATE, rng(0))
    narrow = transmit(dry, Channel(high=1_000, noise=-80), MODEL_RATE, rng(0))
    assert treble(narrow) < treble(wide) - 1
    noisy = transmit(dry, Channel(noise=-40), MODEL_RATE, rng(0))
    assert hiss(noisy) - hiss(wide) == pytest.approx(40, abs=1)
    loud = transmit(dry, Channel(gain=6, noise=-80), MODEL_RATE, rng(0))
    assert level(loud) - level(wide) == pytest.approx(6, abs=0.2)


def test_a_room_rings_after_the_speech_and_nothing_clips():
    dry = speak("angry", voices("male")[0])
    rng = np.random.default_rng
    booth = transmit(dry, Channel(noise=-90, decay=0.05), MODEL_RATE, rng(0))
    hall = transmit(dry, Channel(noise=-90, decay=0.8, room=-10), MODEL_RATE, rng(0))
    end = -int(0.05 * MODEL_RATE)
    assert level(hall[end:]) > level(booth[end:]) + 6
    assert np.abs(transmit(dry, Channel(gain=60), MODEL_RATE, rng(0))).max() < 1
