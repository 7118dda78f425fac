"""MELD: three tables, splits by folder, twins of wrongly cut videos, and who is who."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from make_copies import Clips, Tree, listed, parsed, touch

from dataset_scripts.corpus import Skipped
from dataset_scripts.meld import CORPUS, parse
from ser_generalize.errors import InputError
from ser_generalize.schema import SourceClip

HEADER = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,"
    "StartTime,EndTime"
)
Row = tuple[str, str, str, int, int]  # utterance, speaker, emotion, dialogue, number
FOLDERS = {
    "train": "train/train_splits",
    "dev": "dev/dev_splits_complete",
    "test": "test/output_repeated_splits_test",
}


def write_table(path: Path, rows: Sequence[Row], encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        file.write(HEADER + "\r\n")
        for number, (text, speaker, emotion, dialogue, utterance) in enumerate(rows, 1):
            times = ["00:16:16,059", "00:16:21,731"]
            row = [number, text, speaker, emotion, "neutral", dialogue, utterance, 8, 21, *times]
            csv.writer(file).writerow(row)
    return path


def skipped(root: Path) -> list[tuple[str, str]]:
    items = [item for item in parse(root) if isinstance(item, Skipped)]
    return [(item.path.relative_to(root).as_posix(), item.reason) for item in items]


def test_every_row_and_every_video_is_accounted_for(
    shared: Path, tree: Tree, clips_of: Clips
) -> None:
    clips, root = clips_of("meld"), tree("meld")
    assert len(listed(shared, "meld")) == 13_706
    assert skipped(root) == [
        (
            "train/train_splits/dia125_utt3.mp4",
            "named in train_sent_emo.csv, but the file is not there",
        ),
        ("train/train_splits/dia309_utt0.mp4", "wrongly cut: 41 seconds for one sentence"),
        (
            "dev_splits_complete/dia110_utt7.mp4",
            "named in dev_sent_emo.csv, but the file is not there",
        ),
        (
            "output_repeated_splits_test/dia38_utt4.mp4",
            "wrongly cut: 305 seconds for one sentence",
        ),
        (
            "output_repeated_splits_test/dia220_utt0.mp4",
            "wrongly cut: 235 seconds for one sentence",
        ),
    ]
    assert len(clips) == 13_703


def test_labels_of_each_split(clips_of: Clips) -> None:
    """The published counts, less the five that cannot be used."""
    order = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
    counts = Counter((clip.official_split, clip.native_label) for clip in clips_of("meld"))
    published = {
        "train": (4710, 1743, 1205, 1109, 683, 271, 268),
        "dev": (470, 163, 150, 153, 111, 22, 40),
        "test": (1256, 402, 281, 345, 208, 68, 50),
    }
    lost = {
        split: {
            label: count - counts[split, label]
            for label, count in zip(order, numbers, strict=True)
            if count != counts[split, label]
        }
        for split, numbers in published.items()
    }
    assert lost == {
        "train": {"neutral": 1, "joy": 1},
        "dev": {"neutral": 1},
        "test": {"joy": 1, "disgust": 1},
    }


def test_speakers_are_people(clips_of: Clips) -> None:
    clips = clips_of("meld")
    speakers = Counter(clip.speaker for clip in clips)
    leads = {"Joey", "Ross", "Rachel", "Phoebe", "Monica", "Chandler"}
    assert {name for name, _ in speakers.most_common(6)} == leads
    assert speakers[None] == 51 + 1 + 14 + 1 + 2 + 2 + 1 + 1  # All, Both, "A and B", friends, ...
    by_sex = {(clip.speaker, clip.sex) for clip in clips if clip.speaker in leads}
    assert by_sex == {
        ("Joey", "male"), ("Ross", "male"), ("Chandler", "male"),
        ("Rachel", "female"), ("Phoebe", "female"), ("Monica", "female"),
    }  # fmt: skip
    assert {clip.sex for clip in clips if clip.speaker is None} == {None}


@pytest.mark.parametrize(
    ("written", "speaker", "sex"),
    [
        ("Rachel", "Rachel", "female"),
        ("Dr. Leedbetter", "Dr. Ledbetter", None),
        ("Phoebe Sr.", "Phoebe Sr", "female"),
        ("A Waiter", "Waiter", None),
        ("The Waiter", "Waiter", None),
        ("Joey/Drake", "Joey", "male"),
        ("Ursula", "Phoebe", "female"),  # twins, one actress
        ("Mrs. Geller", "Mrs. Geller", "female"),
        ("Mr. Heckles", "Mr. Heckles", "male"),
        ("Richard’s Date", "Richard's Date", None),
        ("Annabelle", "Annabelle", None),  # no article
        ("Ross and Joey", None, None),
        ("All", None, None),
        ("Both", None, None),
        ("The Guys", None, None),
    ],
)
def test_spellings_and_groups(
    tmp_path: Path, written: str, speaker: str | None, sex: str | None
) -> None:
    write_table(tmp_path / "dev_sent_emo.csv", [("Hi!", written, "joy", 0, 0)])
    (clip,) = parsed("meld", touch(tmp_path, ["dev/dia0_utt0.mp4"]))
    assert (clip.speaker, clip.sex) == (speaker, sex)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_a_row_and_its_video(tmp_path: Path, encoding: str) -> None:
    table = tmp_path / "MELD.Raw" / "test_sent_emo.csv"
    write_table(table, [('You’re here, "now"?', "Monica", "Surprise", 3, 14)], encoding)
    file = "MELD.Raw/test/output_repeated_splits_test/dia3_utt14.mp4"
    (clip,) = parsed("meld", touch(tmp_path, [file]))
    assert clip == SourceClip(
        path=tmp_path / file,
        name="test_dia3_utt14",
        native_label="surprise",
        speaker="Monica",
        language="en",
        sex="female",
        text="youre here now",
        transcript='You’re here, "now"?',
        official_split="test",
    )


@pytest.mark.parametrize("above", ["", "MELD.Raw/", "a/MELD.Raw/test/"])
def test_dialogues_are_numbered_anew_in_every_split(tmp_path: Path, above: str) -> None:
    for split, emotion in {"train": "joy", "dev": "anger", "test": "fear"}.items():
        write_table(tmp_path / f"{split}_sent_emo.csv", [("Hi!", "Ross", emotion, 0, 0)])
    files = [f"{above}{folder}/dia0_utt0.mp4" for folder in FOLDERS.values()]
    clips = parsed("meld", touch(tmp_path, files))
    assert {clip.name: clip.native_label for clip in clips} == {
        "train_dia0_utt0": "joy", "dev_dia0_utt0": "anger", "test_dia0_utt0": "fear",
    }  # fmt: skip
    assert len({clip.text for clip in clips}) == 1, "the same words"


def test_the_second_cut_of_a_test_video_replaces_the_first(tmp_path: Path) -> None:
    rows = [("One.", "Ross", "joy", 1, number) for number in range(3)]
    write_table(tmp_path / "test_sent_emo.csv", rows)
    folder = tmp_path / "output_repeated_splits_test"
    again = "final_videos_testdia1_utt0.mp4"
    touch(folder, [again, "dia1_utt0.mp4", "._dia1_utt0.mp4", "dia1_utt1.mp4"])
    touch(folder, ["final_videos_testdia1_utt2.mp4"])
    assert {clip.name: clip.path.name for clip in parsed("meld", tmp_path)} == {
        "test_dia1_utt0": again,
        "test_dia1_utt1": "dia1_utt1.mp4",
        "test_dia1_utt2": "final_videos_testdia1_utt2.mp4",
    }
    assert skipped(tmp_path) == [
        (f"{folder.name}/dia1_utt0.mp4", f"a wrong cut, replaced by {again}")
    ]


@pytest.mark.parametrize(
    ("split", "dialogue", "number", "reason"),
    [
        ("train", 125, 3, "the published file is corrupt"),
        ("train", 309, 0, "wrongly cut: 41 seconds for one sentence"),
        ("test", 38, 4, "wrongly cut: 305 seconds for one sentence"),
        ("test", 220, 0, "wrongly cut: 235 seconds for one sentence"),
    ],
)
def test_what_is_known_to_be_broken_is_left_out_of_its_split_alone(
    tmp_path: Path, split: str, dialogue: int, number: int, reason: str
) -> None:
    for each, folder in FOLDERS.items():
        write_table(tmp_path / f"{each}_sent_emo.csv", [("Hi!", "Ross", "joy", dialogue, number)])
        touch(tmp_path, [f"{folder}/dia{dialogue}_utt{number}.mp4"])
    assert skipped(tmp_path) == [(f"{FOLDERS[split]}/dia{dialogue}_utt{number}.mp4", reason)]
    assert len(parsed("meld", tmp_path)) == 2


def test_what_does_not_fit_together_is_listed(tmp_path: Path) -> None:
    rows = [("One.", "Ross", "joy", 0, 0), ("Two.", "Ross", "boredom", 0, 1)]
    write_table(tmp_path / "dev_sent_emo.csv", rows)
    touch(tmp_path, ["dev/dia0_utt1.mp4", "dev/dia9_utt9.mp4", "elsewhere/dia0_utt0.mp4"])
    assert skipped(tmp_path) == [
        (
            "elsewhere/dia0_utt0.mp4",
            "lies in none of the folders train_splits, dev_splits_complete, "
            "output_repeated_splits_test, train, dev, test",
        ),
        (
            "dev/dia0_utt0.mp4",
            "named in dev_sent_emo.csv, but the file is not there",
        ),
        ("dev/dia0_utt1.mp4", "unknown emotion 'boredom' in dev_sent_emo.csv"),
        ("dev/dia9_utt9.mp4", "has no row in dev_sent_emo.csv"),
    ]
    assert parsed("meld", tmp_path) == []


def test_a_split_without_its_table_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "dev_sent_emo.csv", [("Hi!", "Ross", "joy", 0, 0)])
    touch(tmp_path, ["train/train_splits/dia0_utt0.mp4", "dev/dia0_utt0.mp4"])
    with pytest.raises(InputError, match=r"train split have no labels: train_sent_emo.csv is now"):
        parsed("meld", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\r\n1,2\r\n", "has no column Utterance, Speaker, Emotion, Dialogue_ID, Utterance_ID"),
        ("", "has no column Utterance"),
        (f"{HEADER}\r\n1,Hi,Ross,joy,positive,x,0\r\n", "line 2: not a row of MELD"),
        (f"{HEADER}\r\n1,Hi,Ross\r\n", "line 2: not a row of MELD"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "dev_sent_emo.csv").write_text(content, encoding="utf-8")
    touch(tmp_path, ["dev/dia0_utt0.mp4"])
    with pytest.raises(InputError, match=rf"dev_sent_emo\.csv.*{message}"):
        parsed("meld", tmp_path)


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    touch(tmp_path, ["dev/dia0_utt0.mp4", "dev_sent_emo.csv/notes"])
    with pytest.raises(InputError, match=r"cannot read .*dev_sent_emo\.csv \(Is a directory\)"):
        parsed("meld", tmp_path)


def test_the_series_may_not_be_passed_on() -> None:
    assert CORPUS.redistribution == "private"
