"""Fabricated trees: valid corpora, reproducible, and acoustically what the literature describes."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import welch

from dataset_scripts import fabricate as fabrication
from dataset_scripts.fabricate import fabricate, fabricate_ravdess, main
from dataset_scripts.ravdess import CORPUS, parse
from dataset_scripts.synthesis import EMOTIONS, MODEL_RATE, Samples, Voice, draw_voice, synthesise
from ser_generalize.command import run_command
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


def digests(tree: Path) -> dict[str, str]:
    return {
        str(path.relative_to(tree)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(tree.rglob("*.wav"))
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("raw") / "ravdess"
    fabricate_ravdess(out, speakers=2, clips=4)
    return out


def test_the_loading_script_reads_every_file(tree):
    clips = list(parse(tree))
    assert len(clips) == len(list(tree.rglob("*.wav"))) == 2 * (2 + 7 * 4)
    assert all(re.fullmatch(CORPUS.file_pattern, clip.path.name) for clip in clips)
    assert {(clip.speaker, clip.sex) for clip in clips} == {("01", "male"), ("02", "female")}
    assert all(clip.path.parent.name == f"Actor_{clip.speaker}" for clip in clips)
    assert {clip.text for clip in clips} == {"01", "02"}


def test_imbalance_is_the_corpus_s_own(tree):
    counts = Counter(clip.native_label for clip in parse(tree))
    expected = CORPUS.expected_clips
    assert {label: counts[label] / counts["happy"] for label in counts} == {
        label: expected[label] / expected["happy"] for label in expected
    }
    strong = {clip.native_label for clip in parse(tree) if clip.intensity == "strong"}
    assert strong == set(CORPUS.labels) - {"neutral"}


def test_full_size_matches_the_corpus():
    takes = [take for actor in range(1, 25) for take in fabrication._ravdess_actor(actor, clips=8)]
    assert len({take.path for take in takes}) == sum(CORPUS.expected_clips.values()) == 1440


def test_files_are_48_khz_16_bit_mono_and_unclipped(tree):
    for path in tree.rglob("*.wav"):
        info = soundfile.info(path)
        assert (info.samplerate, info.subtype, info.channels) == (48_000, "PCM_16", 1)
        assert 1.0 < info.duration < 4.5
        samples, _ = soundfile.read(path)
        assert 0.01 < np.abs(samples).max() < 0.98


def test_files_say_that_nobody_spoke(tree):
    with soundfile.SoundFile(next(tree.rglob("*.wav"))) as file:
        assert "no human speech" in file.comment


def test_a_clip_depends_on_seed_and_name_only(tree, tmp_path):
    fabricate_ravdess(tmp_path / "small", speakers=1, clips=2)
    fabricate_ravdess(tmp_path / "other", speakers=1, clips=2, seed=1)
    small, whole = digests(tmp_path / "small"), digests(tree)
    assert small.items() < whole.items()
    assert not set(digests(tmp_path / "other").values()) & set(small.values())
    assert len(set(whole.values())) == len(whole), "no two clips are one recording"


def test_anger_is_loud_and_bright_and_sadness_is_not():
    for measure in (level, treble):
        angry, happy, neutral, sad = (
            mean_over_clips(measure, emotion) for emotion in ("angry", "happy", "neutral", "sad")
        )
        assert angry > happy > neutral > sad, measure.__name__


def test_pitch_follows_the_emotion():
    pitch = {emotion: mean_over_clips(median_f0, emotion) for emotion in EMOTIONS}
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
        ("bored", SENTENCE, "unknown emotion 'bored'; choose one of: neutral, calm"),
        ("happy", "K IH1 DZ", "unknown phone 'DZ'; choose one of: "),
        ("happy", " | ", "ARPAbet"),
    ],
)
def test_synthesise_refuses(emotion, text, says):
    with pytest.raises(InputError, match=re.escape(says)):
        speak(emotion, voices("male")[0], text=text)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--speakers", "25"], "choose 1 to 24"),
        (["--clips", "3"], "choose one of: 2, 4, 6, 8"),
        (["--corpora", "ravdes"], "choose one of: ravdess"),
    ],
)
def test_command_refuses_in_one_line_and_writes_nothing(tmp_path, capsys, options, says):
    assert run_command("fabricate", main, ["--out", str(tmp_path / "raw"), *options]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_command_writes_one_folder_per_corpus_and_never_over_another(tmp_path, capsys):
    command = ["--out", str(tmp_path / "raw"), "--speakers", "1", "--clips", "2"]
    assert run_command("fabricate", main, command) == 0
    before = digests(tmp_path)
    assert {Path(name).parts[:3] for name in before} == {("raw", "ravdess", "Actor_01")}
    assert run_command("fabricate", main, command) == 2
    assert "not an empty folder" in capsys.readouterr().err
    assert digests(tmp_path) == before


def test_a_failed_run_leaves_nothing(tmp_path, monkeypatch):
    calls = iter([np.full(48_000, 0.1)])
    monkeypatch.setattr(
        fabrication, "synthesise", lambda *args: next(calls)
    )  # the second one fails
    with pytest.raises(StopIteration):
        fabricate(tmp_path / "raw", speakers=1, clips=2)
    assert not list(tmp_path.iterdir())
