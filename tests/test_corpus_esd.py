"""ESD: what a number says, the two layouts, and text files in every encoding that occurs."""

from collections import Counter
from pathlib import Path

import pytest
from make_copies import Clips, parsed, touch

from dataset_scripts.corpus import Skipped
from dataset_scripts.esd import parse
from ser_generalize.schema import SourceClip

MANDARIN = "打远一看,它们的确很是美丽,"


def test_a_complete_copy(clips_of: Clips) -> None:
    clips = clips_of("esd")
    assert len(clips) == 35_000
    assert Counter(clip.native_label for clip in clips) == dict.fromkeys(
        ["Neutral", "Angry", "Happy", "Sad", "Surprise"], 7_000
    )
    assert all(clip.path.parent.name == clip.native_label for clip in clips)
    assert all(clip.path.parents[1].name == clip.speaker for clip in clips)
    assert Counter((clip.language, clip.sex) for clip in clips) == dict.fromkeys(
        [("zh", "female"), ("zh", "male"), ("en", "female"), ("en", "male")], 5 * 1_750
    )
    assert Counter(clip.official_split for clip in clips) == {
        "train": 30_000, "evaluation": 2_000, "test": 3_000,
    }  # fmt: skip
    assert set(Counter(clip.text for clip in clips).values()) == {5 * 10}
    assert len({clip.text for clip in clips}) == 2 * 350


def test_fields_are_read_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "0013").mkdir()
    (tmp_path / "0013" / "0013.txt").write_text("0013_000721\tThe nine the eggs, I keep.\tHappy\n")
    (clip,) = parsed("esd", touch(tmp_path, ["0013/Happy/0013_000721.wav"]))
    assert clip == SourceClip(
        path=tmp_path / "0013" / "Happy" / "0013_000721.wav",
        name="0013_000721",
        native_label="Happy",
        speaker="0013",
        language="en",
        sex="male",
        text="en-021",
        transcript="The nine the eggs, I keep.",
        official_split="test",
    )


def test_both_layouts_say_the_same(tmp_path: Path) -> None:
    old = touch(
        tmp_path / "old",
        [
            "0001/Angry/evaluation/0001_000351.wav",
            "0001/Angry/test/0001_000371.wav",
            "0001/Angry/train/0001_000700.wav",
        ],
    )
    new = touch(
        tmp_path / "new",
        ["0001/Angry/0001_000351.wav", "0001/Angry/0001-000371.wav", "0001/Angry/0001_000700.wav"],
    )
    both = [
        {
            clip.name: (clip.native_label, clip.text, clip.official_split)
            for clip in parsed("esd", r)
        }
        for r in (old, new)
    ]
    assert both[0] == both[1] == {
        "0001_000351": ("Angry", "zh-001", "evaluation"),
        "0001_000371": ("Angry", "zh-021", "test"),
        "0001_000700": ("Angry", "zh-350", "train"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("number", "label", "text", "split"),
    [
        (1, "Neutral", "en-001", "evaluation"),
        (20, "Neutral", "en-020", "evaluation"),
        (21, "Neutral", "en-021", "test"),
        (50, "Neutral", "en-050", "test"),
        (51, "Neutral", "en-051", "train"),
        (350, "Neutral", "en-350", "train"),
        (351, "Angry", "en-001", "evaluation"),
        (701, "Happy", "en-001", "evaluation"),
        (1_051, "Sad", "en-001", "evaluation"),
        (1_401, "Surprise", "en-001", "evaluation"),
        (1_750, "Surprise", "en-350", "train"),
    ],
)
def test_a_number_says_emotion_sentence_and_split(
    tmp_path: Path, number: int, label: str, text: str, split: str
) -> None:
    (clip,) = parsed("esd", touch(tmp_path, [f"0020_{number:06}.wav"]))
    assert (clip.native_label, clip.text, clip.official_split) == (label, text, split)


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("0001/Sad/0001_000351.wav", "its number says Angry, its folder Sad"),
        ("0001/Sad/train/0001_000351.wav", "its number says Angry, its folder Sad"),
        ("0001/Surprise/0001_001751.wav", "its number is not among 1 to 1750"),
        ("0001/Neutral/0001_000000.wav", "its number is not among 1 to 1750"),
    ],
)
def test_a_clip_that_contradicts_itself_is_listed(tmp_path: Path, file: str, reason: str) -> None:
    assert list(parse(touch(tmp_path, [file]))) == [Skipped(tmp_path / file, reason)]


@pytest.mark.parametrize("file", ["0021_000001.wav", "0000_000001.wav", "0001_0001.wav"])
def test_other_names_are_foreign(tmp_path: Path, file: str) -> None:
    assert list(parse(touch(tmp_path, [file]))) == []


@pytest.mark.parametrize(
    ("speaker", "encoding", "line", "transcript"),
    [
        ("0001", "gb2312", f"0001_000001\t{MANDARIN}\t中立", MANDARIN),
        ("0003", "utf-16", f"0003_000001\t{MANDARIN}\t中立", MANDARIN),
        ("0006", "utf-16-le", f"0006_000001\t{MANDARIN}\t中立", MANDARIN),
        ("0007", "utf-8-sig", f"0007_000001\t{MANDARIN}\t中立", MANDARIN),
        ("0008", "utf-16", f"\ufeff0008_000001 {MANDARIN} 惊喜", MANDARIN),  # a mark within too
        ("0011", "ascii", "0011_000001\tTom, at once!\tNeutral", "Tom, at once!"),
        ("0012", "utf-16", "0012_000001\tTom, at once!\tNeutral", "Tom, at once!"),
        ("0015", "utf-8", "0015_000001 Tom, at once! Neutral", "Tom, at once!"),
        ("0016", "latin-1", "0016_000001\tAt the café\tNeutral", "At the café"),
        ("0017", "cp1252", "0017_000001\tI’m not angry\tNeutral", "I’m not angry"),
        ("0020", "ascii", "0020_000001\tNothing behind it", "Nothing behind it"),
    ],
)
def test_transcripts_are_read_in_every_encoding(
    tmp_path: Path, speaker: str, encoding: str, line: str, transcript: str
) -> None:
    touch(tmp_path, [f"{speaker}/Neutral/{speaker}_000001.wav"])
    text = f"{line}\r\nnot a line of the table\r\n{speaker}_000002\tanother\tNeutral\r\n"
    (tmp_path / speaker / f"{speaker}.txt").write_bytes(text.encode(encoding))
    (clip,) = parsed("esd", tmp_path)
    assert clip.transcript == transcript


def test_bytes_that_are_no_text_cost_no_clip(tmp_path: Path) -> None:
    touch(tmp_path, ["0001/Sad/0001_001051.wav"])
    (tmp_path / "0001" / "0001.txt").write_bytes(b"0001_001051\t\xff\xff\x81\t\xc9\xcb\xd0\xc4\n")
    (clip,) = parsed("esd", tmp_path)
    assert clip.native_label == "Sad" and "\ufffd" in (clip.transcript or "")
