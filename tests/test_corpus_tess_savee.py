"""TESS and SAVEE: every layout and every misspelling of their copies give the same names."""

import csv
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from make_copies import Clips, link, listed, parsed

from dataset_scripts.corpus import load_script
from ser_generalize.schema import SourceClip

LAYOUTS = {
    "registered": "AudioData/{speaker}/{stem}.wav",
    "kaggle": "ALL/{speaker}_{stem}.wav",
    "prefixed": "{speaker}{stem}.wav",
}
each_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def tree_of(root: Path, corpus: str, *files: str) -> list[SourceClip]:
    return parsed(corpus, link(root, files))


def repeated(shared: Path, corpus: str) -> list[list[str]]:
    """Return the groups of files of a manifest that have the same bytes."""
    same = defaultdict(list)
    with (shared / "manifests" / f"{corpus}.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            same[row["sha256"]].append(row["path"])
    return [paths for paths in same.values() if len(paths) > 1]


def test_a_tess_clip_says_what_its_name_says(tmp_path: Path) -> None:
    file = "YAF_pleasant_surprised/YAF_germ_ps.wav"
    assert tree_of(tmp_path, "tess", file) == [
        SourceClip(
            path=tmp_path / file,
            name="YAF_germ_ps",
            native_label="pleasant surprise",
            speaker="YAF",
            language="en-CA",
            sex="female",
            age=26,
            text="germ",
            transcript="Say the word germ.",
        )
    ]


def test_the_name_of_tess_that_lacks_a_letter_is_the_older_woman(tmp_path: Path) -> None:
    (clip,) = tree_of(tmp_path, "tess", "OAF_neutral/OA_bite_neutral.wav")
    assert (clip.name, clip.speaker, clip.age) == ("OAF_bite_neutral", "OAF", 64)


def test_a_tess_tree_within_the_tree_gives_each_name_twice(tmp_path: Path) -> None:
    file = "TESS Toronto emotional speech set data/OAF_Fear/OAF_back_fear.wav"
    clips = tree_of(tmp_path, "tess", file, f"TESS Toronto emotional speech set data/{file}")
    assert [clip.name for clip in clips] == ["OAF_back_fear"] * 2


def test_a_flat_copy_of_tess_has_the_same_names(
    clips_of: Clips, shared: Path, tmp_path: Path
) -> None:
    flat = tree_of(tmp_path, "tess", *(Path(file).name for file in listed(shared, "tess")))
    nested = {clip.name: clip.native_label for clip in clips_of("tess")}
    assert {clip.name: clip.native_label for clip in flat} == nested


@pytest.mark.parametrize(
    "file", ["OAF_back_surprise.wav", "XAF_back_sad.wav", "OAF_sad.wav", "OAF_back_sad_1.wav"]
)
def test_lookalikes_of_tess_are_left_out(tmp_path: Path, file: str) -> None:
    assert tree_of(tmp_path, "tess", file) == []


def test_every_word_of_tess_is_said_in_every_emotion_by_both(clips_of: Clips, shared: Path) -> None:
    cells = Counter((clip.text, clip.native_label, clip.speaker) for clip in clips_of("tess"))
    assert len({text for text, *_ in cells}) == 200
    assert len(cells) == 200 * 7 * 2
    assert set(cells.values()) == {1}
    assert repeated(shared, "tess") == []


@each_layout
def test_a_savee_clip_says_what_its_name_says(tmp_path: Path, layout: str) -> None:
    file = layout.format(speaker="JE", stem="su07")
    assert tree_of(tmp_path, "savee", file) == [
        SourceClip(
            path=tmp_path / file,
            name="JE_su07",
            native_label="surprise",
            speaker="JE",
            language="en-GB",
            sex="male",
            text="surprise-07",
        )
    ]


@pytest.mark.parametrize(
    ("stem", "emotion", "text"),
    [
        ("sa01", "sadness", "common-01"),
        ("a01", "anger", "common-01"),
        ("a04", "anger", "anger-04"),
        ("n03", "neutral", "common-03"),
        ("n16", "neutral", "neutral-16"),
        ("n30", "neutral", "neutral-30"),
        ("su15", "surprise", "surprise-15"),
    ],
)
def test_savee_codes_of_two_letters_are_not_those_of_one(
    tmp_path: Path, stem: str, emotion: str, text: str
) -> None:
    (clip,) = tree_of(tmp_path, "savee", f"KL_{stem}.wav")
    assert (clip.native_label, clip.text) == (emotion, text)


@pytest.mark.parametrize(
    "file",
    [
        "a01.wav",  # of nobody
        "AudioData/XY/a01.wav",
        "XY_a01.wav",
        "DC/s01.wav",
        "DC/a16.wav",  # there are 15 of all but neutral
        "DC/n31.wav",
        "DC/n00.wav",
        "DC/a1.wav",
        "DC/03a01Fa.wav",
    ],
)
def test_lookalikes_of_savee_are_left_out(tmp_path: Path, file: str) -> None:
    assert tree_of(tmp_path, "savee", file) == []


@each_layout
def test_every_layout_of_savee_gives_the_same_names(
    clips_of: Clips, shared: Path, tmp_path: Path, layout: str
) -> None:
    files = (Path(file) for file in listed(shared, "savee"))
    clips = tree_of(
        tmp_path,
        "savee",
        *(layout.format(speaker=file.parent.name, stem=file.stem) for file in files),
    )
    assert len(clips) == 480
    assert {(clip.name, clip.native_label, clip.speaker, clip.text) for clip in clips} == {
        (clip.name, clip.native_label, clip.speaker, clip.text) for clip in clips_of("savee")
    }


def test_sentences_of_savee_are_shared_by_speakers_and_three_by_emotions(
    clips_of: Clips, shared: Path
) -> None:
    texts = Counter(clip.text for clip in clips_of("savee"))
    assert {text for text, count in texts.items() if count == 4 * 7} == {
        "common-01", "common-02", "common-03"
    }  # fmt: skip
    assert Counter(texts.values()) == {28: 3, 4: 6 * 12 + 27}
    assert repeated(shared, "savee") == []


def test_neither_may_be_passed_on() -> None:
    assert {load_script(name)[0].redistribution for name in ("tess", "savee")} == {"private"}
