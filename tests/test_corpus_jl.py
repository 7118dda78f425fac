"""JL-Corpus: names, which sentences emotions share, and transcripts beside the recordings."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from make_copies import Clips, parsed, touch
from make_trees import record, rows, skipped

from dataset_scripts.build import build
from dataset_scripts.corpus import load_script
from ser_generalize.schema import SourceClip

FOLDER = "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)"
CORPUS, parse = load_script("jl_corpus")


@pytest.mark.parametrize(
    ("stem", "sex", "speaker"),
    [
        ("female2_angry_10a_1", "female", "female2"),
        ("male2_angry_10a_1", "male", "male2"),  # which is within "female2"
    ],
)
def test_a_clip_says_what_its_name_says(tmp_path: Path, stem: str, sex: str, speaker: str) -> None:
    file = f"{FOLDER}/{stem}.wav"
    assert list(parse(touch(tmp_path, [file]))) == [
        SourceClip(
            path=tmp_path / file,
            name=stem,
            native_label="angry",
            speaker=speaker,
            language="en-NZ",
            sex=sex,
            text="10",
        )
    ]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Jim saw the port.\r\n", "Jim saw the port."),
        ("\ufeff Jim  saw\nthe port. ", "Jim saw the port."),
        ("", None),
    ],
)
def test_the_transcript_is_what_stands_beside_the_recording(
    tmp_path: Path, written: str, read: str | None
) -> None:
    touch(tmp_path, ["male1_sad_13b_2.wav"])
    (tmp_path / "male1_sad_13b_2.txt").write_text(written, encoding="utf-8", newline="")
    assert [clip.transcript for clip in parsed("jl_corpus", tmp_path)] == [read]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("female1_angry_3a_1", "male2_anxious_3b_2", True),
        ("female1_angry_11a_1", "male2_neutral_11b_2", True),
        ("female1_concerned_13a_1", "male2_anxious_13b_2", True),
        ("female1_anxious_15a_1", "male2_anxious_15b_2", True),
        ("female1_angry_11a_1", "female1_anxious_11a_1", False),
        ("female1_anxious_14a_1", "female1_apologetic_14a_1", False),
        ("female1_angry_14a_1", "female1_apologetic_14a_1", False),
    ],
)
def test_which_emotions_share_a_sentence_depends_on_its_number(
    tmp_path: Path, one: str, other: str, same: bool
) -> None:
    touch(tmp_path, [f"{one}.wav", f"{other}.wav"])
    texts = {clip.text for clip in parsed("jl_corpus", tmp_path)}
    assert len(texts) == (1 if same else 2)


@pytest.mark.parametrize(
    ("word", "emotion"),
    [("pensive", "assertive"), ("worried", "concerned"), ("enthusiastic", "encouraging")],
)
def test_the_words_of_the_paper_are_those_of_the_files(
    tmp_path: Path, word: str, emotion: str
) -> None:
    (clip,) = parsed("jl_corpus", touch(tmp_path, [f"male1_{word}_14a_1.wav"]))
    assert (clip.name, clip.native_label) == (f"male1_{emotion}_14a_1", emotion)
    assert clip.text == f"{emotion}-14"


@pytest.mark.parametrize(
    "file",
    [
        "male3_angry_1a_1.wav",
        "male1_surprised_1a_1.wav",
        "male1_angry_16a_1.wav",
        "male1_angry_0a_1.wav",
        "male1_angry_1c_1.wav",
        "male1_angry_1a_3.wav",
        "female1_angry_1a_1_primary.wav",  # of the perception test
    ],
)
def test_lookalikes_are_left_out(tmp_path: Path, file: str) -> None:
    assert list(parse(touch(tmp_path, [file]))) == []


def test_the_second_partial_copy_of_kaggle_adds_no_clip(tmp_path: Path) -> None:
    for folder in (FOLDER, FOLDER.lower()):
        record(tmp_path / "raw" / folder / "male1_sad_1a_1.wav", seed=1)
    record(tmp_path / "raw" / FOLDER / "male1_sad_1a_2.wav", seed=2)
    clips, _ = build("jl_corpus", tmp_path / "raw", tmp_path / "data")
    assert clips == 2
    assert skipped(tmp_path / "data", "jl_corpus") == {
        f"{FOLDER.lower()}/male1_sad_1a_1.wav": ("the same recording as jl_corpus/male1_sad_1a_1")
    }


def test_every_speaker_says_every_sentence_in_every_emotion_four_times(clips_of: Clips) -> None:
    clips = clips_of("jl_corpus")
    cells = Counter((clip.speaker, clip.native_label, clip.text) for clip in clips)
    assert set(cells.values()) == {4}
    assert len(cells) == 4 * 10 * 15
    emotions = defaultdict(set)
    for clip in clips:
        emotions[clip.text].add(clip.native_label)
    assert Counter(map(len, emotions.values())) == {10: 10, 5: 5 + 3, 1: 2 * 5}


def test_real_recordings_build(shared: Path, tmp_path: Path) -> None:
    clips, missing = build("jl_corpus", shared / "corpora" / "jl_corpus", tmp_path / "data")
    assert (clips, missing) == (5, [])
    built = {row["clip_id"]: row for row in rows(tmp_path / "data", "jl_corpus")}
    row = built["jl_corpus/male2_encouraging_2b_2"]
    assert row["transcript"] == "John laughs like your father."
    assert (row["speaker"], row["label5"]) == ("jl_corpus:male2", None)
    assert all(row["source_sampling_rate"] == 44_100 for row in built.values())
    assert all(1.2 <= row["duration"] <= 3.75 for row in built.values())
