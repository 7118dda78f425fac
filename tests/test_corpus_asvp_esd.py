"""ASVP-ESD: names of eight to twelve fields, of which the first eight have a fixed place."""

from collections import Counter
from pathlib import Path

import pytest
from make_copies import Clips, Tree, listed, parsed, touch

from dataset_scripts.asvp_esd import CORPUS, parse
from dataset_scripts.corpus import Skipped
from ser_generalize.labels import FIVE, in_label_set
from ser_generalize.schema import SourceClip


def of_five(clips: list[SourceClip], alternatives: tuple[str, ...] = ()) -> Counter[str | None]:
    return Counter(
        in_label_set(
            "asvp_esd", CORPUS.labels[clip.native_label], clip.vocalisation, FIVE, alternatives
        )
        for clip in clips
    )


def test_every_published_name_parses_or_is_listed(shared: Path, tree: Tree) -> None:
    names = listed(shared, "asvp_esd")
    items = list(parse(tree("asvp_esd")))
    assert sorted(item.path.relative_to(tree("asvp_esd")).as_posix() for item in items) == sorted(
        names
    )
    (skipped,) = [item for item in items if isinstance(item, Skipped)]
    assert skipped.path.parent.name == "actor_200"
    assert skipped.reason == "17 is no emotion of the corpus"
    assert len(names) == 13_964


def test_what_is_said_of_the_part_audio(clips_of: Clips) -> None:
    audio = [clip for clip in clips_of("asvp_esd") if clip.path.parents[1].name == "Audio"]
    speech = [clip for clip in audio if clip.vocalisation == "speech"]
    assert len(audio) == 12_625 and len(speech) == 5_080
    assert Counter(clip.native_label for clip in audio) == {
        "boredom": 542, "neutral": 1_568, "happy": 1_758, "sad": 1_514, "angry": 1_453,
        "fearful": 1_170, "disgust": 899, "surprised": 1_586, "excited": 401, "pleasure": 365,
        "pain": 832, "disappointment": 365, "breath": 172,
    }  # fmt: skip
    assert Counter(clip.native_label for clip in speech) == {
        "boredom": 95, "neutral": 1_287, "happy": 586, "sad": 550, "angry": 1_064, "fearful": 169,
        "disgust": 190, "surprised": 492, "excited": 270, "pleasure": 35, "pain": 54,
        "disappointment": 288,
    }  # fmt: skip
    counted = of_five(audio)
    del counted[None]
    assert counted == {"neutral": 1287, "angry": 1064, "happy": 586, "sad": 550, "surprised": 492}
    with_bursts = of_five(audio, ("bursts-count",))
    del with_bursts[None]
    assert with_bursts == {
        "neutral": 1568, "angry": 1453, "happy": 1758, "sad": 1514, "surprised": 1586,
    }  # fmt: skip
    assert Counter(clip.language for clip in speech) == {
        "zh": 1_908, "en": 1_852, "fr": 458, "und": 862,
    }  # fmt: skip


def test_sex_follows_the_actor_and_babies_have_none(clips_of: Clips) -> None:
    clips = clips_of("asvp_esd")
    audio = [clip for clip in clips if clip.path.parents[1].name == "Audio"]
    assert Counter(int(clip.speaker or "") % 2 for clip in audio) == {0: 6_564, 1: 6_061}
    assert Counter(clip.sex for clip in clips)[None] == 1_408 + 2  # ages 04 and 0401
    for clip in clips:
        if clip.sex:
            assert clip.sex == ("female" if int(clip.speaker or "") % 2 else "male")
    elsewhere = [
        clip for clip in clips if clip.path.parent.name not in {f"actor_{clip.speaker}", "actor_"}
    ]
    assert len(elsewhere) == 16


def test_the_official_example_is_read_in_its_order(tmp_path: Path) -> None:
    (clip,) = parsed(
        "asvp_esd", touch(tmp_path, ["Audio/actor_12/03-02-06-02-02-12-02-03-01-16.wav"])
    )
    assert clip == SourceClip(
        path=tmp_path / "Audio" / "actor_12" / "03-02-06-02-02-12-02-03-01-16.wav",
        name="03-02-06-02-02-12-02-03-01-16",
        native_label="fearful",
        speaker="12",
        language="zh",
        sex="male",
        intensity="high",
        vocalisation="burst",
        elicitation="acted",
    )


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        ("03-01-05-01-47-54-02-02.wav", "language", "und"),  # eight fields: none is the language
        ("03-02-07-01-18-109-02-02-17.wav", "language", "und"),  # nine: the last is of similarity
        ("03-01-03-01-01-09-02-01-04.wav", "language", "fr"),
        ("03-01-03-01-01-09-02-01-00-02.wav", "language", "und"),
        ("03-01-03-01-01-09-02-01-02-02-77.wav", "language", "en"),
        ("03-02-04-01-09-19-02-03-01-14-01-77.wav", "language", "zh"),  # twelve
        ("03-02-04-01-52-150-04-01-00-14 -01.wav", "name", "03-02-04-01-52-150-04-01-00-14-01"),
        ("03-02-04-01-13-150-0401-00-14-01.wav", "sex", None),
        ("03-01-09-01-18-01-106-02-02-11.wav", "speaker", "1"),  # the age is wrong
        ("03-02-03-021-10-39-03-01-00-13.wav", "intensity", None),
        ("03-02-04-04-06-102-02-01-00-14.wav", "intensity", None),
        ("03-01-03-01-08-00-02-01-01.wav", "speaker", "0"),
    ],
)
def test_irregular_names(tmp_path: Path, file: str, field: str, value: str | None) -> None:
    (clip,) = parsed("asvp_esd", touch(tmp_path, [f"actor_/{file}"]))
    assert getattr(clip, field) == value


@pytest.mark.parametrize(
    "file",
    [
        "03-01-05-01-02-01-12.wav",  # seven fields: RAVDESS
        "03-01-05-01-02-01-12-01-01-01-01-01-01.wav",  # thirteen
        "01-01-05-01-02-01-12-01.wav",  # with a picture
        "03-03-05-01-02-01-12-01.wav",  # no such channel
        "03-01-05-01-02-01-12-01-x.wav",
    ],
)
def test_lookalikes_are_foreign(tmp_path: Path, file: str) -> None:
    assert list(parse(touch(tmp_path, [file]))) == []
