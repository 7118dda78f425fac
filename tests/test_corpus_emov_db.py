"""EmoV-DB: one name for a recording, whatever the layout and spelling of the copy."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_copies import Clips, link, parsed, touch

from dataset_scripts.corpus import Skipped, load_script
from dataset_scripts.emov_db import FOLDER_WORDS, SEXES
from ser_generalize.schema import SourceClip

CORPUS, parse = load_script("emov_db")


def described(clips: list[SourceClip]) -> dict[str, tuple[str | None, ...]]:
    return {clip.name: (clip.native_label, clip.speaker, clip.text) for clip in clips}


@pytest.mark.parametrize("folder", ["bea_Sleepy", "EmoV-DB_sorted/bea/Sleepy", "bea_sleepy"])
def test_a_clip_says_what_its_name_and_its_folder_say(tmp_path: Path, folder: str) -> None:
    file = f"{folder}/sleepiness_113_140_0117.wav"
    assert list(parse(touch(tmp_path, [file]))) == [
        SourceClip(
            path=tmp_path / file,
            name="bea_sleepiness_113-140_0117",
            native_label="sleepiness",
            speaker="bea",
            language="en",
            sex="female",
            text="arctic_a0117",
        )
    ]


def test_a_sentence_that_was_recorded_twice_is_two_clips_of_one_text(tmp_path: Path) -> None:
    files = ["sleepiness_281-308_0387.wav", "sleepiness_367-392_0387.wav"]
    clips = parsed("emov_db", touch(tmp_path, [f"sam_Sleepy/{file}" for file in files]))
    assert len({clip.name for clip in clips}) == 2
    assert {clip.text for clip in clips} == {"arctic_a0387"}


@pytest.mark.parametrize("part", ["bea_Amused", "bea", "."])
def test_any_folder_of_the_corpus_may_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    folder = {"bea_Amused": "bea_Amused", "bea": "bea/Amused", ".": "jenie_Amused"}[part]
    touch(tmp_path, [f"{folder}/amused_1-15_0001.wav"])
    monkeypatch.chdir(tmp_path / folder if part == "." else tmp_path)
    assert [clip.native_label for clip in parsed("emov_db", Path(part))] == ["amused"]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("amused_1-15_0001.wav", "in no folder of a speaker and an emotion, such as bea_Amused"),
        ("amused/amused_1-15_0001.wav", "in no folder of a speaker"),
        ("anna_Amused/amused_1-15_0001.wav", "in no folder of a speaker"),
        ("rebea_Amused/amused_1-15_0001.wav", "in no folder of a speaker"),
        ("bea_Amused/anger_1-15_0001.wav", "its name says anger, its folder Amused"),
    ],
)
def test_a_file_in_a_wrong_folder_is_skipped(tmp_path: Path, file: str, reason: str) -> None:
    (item,) = parse(touch(tmp_path, [file]))
    assert isinstance(item, Skipped)
    assert item.path == tmp_path / file
    assert item.reason.startswith(reason)


@given(
    speaker=st.sampled_from(sorted(SEXES)),
    emotion=st.sampled_from(sorted(FOLDER_WORDS)),
    first=st.integers(1, 560),
    length=st.integers(0, 30),
    sentence=st.integers(1, 560),
    separator=st.sampled_from("-_"),
    spelt=st.sampled_from([str.lower, str.capitalize, str.upper]),
)
def test_layout_separator_and_case_make_no_difference(
    tmp_path_factory: pytest.TempPathFactory,
    speaker: str,
    emotion: str,
    first: int,
    length: int,
    sentence: int,
    separator: str,
    spelt: Callable[[str], str],
) -> None:
    root, folder = tmp_path_factory.mktemp("emov_db"), FOLDER_WORDS[emotion]
    openslr = f"{speaker}_{folder}/{emotion}_{first}-{first + length}_{sentence:04}.wav"
    other = (
        f"{speaker}/{folder}/{spelt(emotion)}_{first}{separator}{first + length}_{sentence:04}.wav"
    )
    one = described(parsed("emov_db", touch(root / "openslr", [openslr])))
    assert len(one) == 1
    assert described(parsed("emov_db", touch(root / "sorted", [other]))) == one


def test_both_listed_layouts_give_the_same_names(
    clips_of: Clips, shared: Path, tmp_path: Path
) -> None:
    lines = (shared / "listings" / "emov_db.tsv").read_text(encoding="utf-8").splitlines()
    link(tmp_path, [line.split("\t")[0] for line in lines[1:]])
    openslr, whole = described(parsed("emov_db", tmp_path)), described(clips_of("emov_db"))
    assert len(openslr) == 6_887 and len(whole) == 6_893
    assert openslr.items() < whole.items()
    again = Counter(whole.values())
    assert {description for name, description in whole.items() if name not in openslr} == {
        description for description, count in again.items() if count == 2
    }, "the six that the OpenSLR listing lacks are sentences recorded twice"


def test_counts_of_speakers_and_emotions_are_the_published_ones(clips_of: Clips) -> None:
    counts = Counter((clip.speaker, clip.native_label) for clip in clips_of("emov_db"))
    emotions = ("amused", "anger", "disgust", "neutral", "sleepiness")
    assert {speaker: tuple(counts[speaker, each] for each in emotions) for speaker in SEXES} == {
        "bea": (296, 304, 333, 357, 497),
        "jenie": (222, 496, 189, 417, 466),
        "josh": (298, 0, 0, 302, 263),
        "sam": (501, 468, 497, 492, 495),
    }


def test_there_is_an_archive_for_every_speaker_and_emotion_that_was_recorded(
    clips_of: Clips,
) -> None:
    folders = {f"{clip.speaker}_{FOLDER_WORDS[clip.native_label]}" for clip in clips_of("emov_db")}
    urls = {archive.url for archive in CORPUS.archives}
    assert len(urls) == 18
    assert urls == {f"https://www.openslr.org/resources/115/{name}.tar.gz" for name in folders}
