"""One contract for every registered corpus, and what the real names of each one say."""

import re
from collections import Counter
from pathlib import Path

import pytest
from make_copies import (
    DUBBED,
    LABELS_UNKNOWN,
    NAMES,
    Clips,
    Tree,
    copy_tables,
    listed,
    parsed,
    touch,
)

from dataset_scripts.corpus import Corpus, Skipped, corpus_names, load_script, words
from ser_generalize.errors import InputError
from ser_generalize.hub import hub_licence
from ser_generalize.labels import EMOTIONS, FIVE, FOUR
from ser_generalize.schema import SourceClip

# What the Hub accepts as `license`, of which these are the ones that corpora have.
HUB_LICENCES = {
    "other", "odbl", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nd-4.0",
    "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0",
}  # fmt: skip

every_corpus = pytest.mark.parametrize("name", corpus_names())


def sheet(name: str) -> Corpus:
    return load_script(name)[0]


@every_corpus
def test_the_data_sheet_is_complete_and_consistent(name: str) -> None:
    corpus = sheet(name)
    assert corpus.name == name
    assert set(corpus.labels.values()) <= {*EMOTIONS, None}
    assert corpus.expected_clips.keys() == corpus.labels.keys()
    assert min(corpus.expected_clips.values()) > 0
    assert corpus.expected_speakers > 1
    assert re.fullmatch(corpus.file_pattern, corpus.file_example)
    assert corpus.title.strip() and corpus.access.endswith(".")
    if corpus.expected_speaker_clips:
        assert len(corpus.expected_speaker_clips) == corpus.expected_speakers
        total = sum(corpus.expected_clips.values())
        assert sum(corpus.expected_speaker_clips.values()) <= total
    assert corpus.redistribution in {"public", "gated", "private"}
    assert all(re.fullmatch(r"[a-z]{2,3}(-[A-Z]{2})?", code) for code in corpus.languages)


@every_corpus
def test_licence_and_citation_can_be_published(name: str) -> None:
    corpus = sheet(name)
    assert re.fullmatch(r"[A-Za-z0-9.-]+", corpus.licence), "an SPDX identifier"
    assert hub_licence(corpus.licence) in HUB_LICENCES
    assert re.match("https?://", corpus.licence_url) and re.match("https?://", corpus.home)
    assert re.match(r"@(article|inproceedings|incollection|misc)\{\w+,\n", corpus.citation)
    assert corpus.citation.endswith("\n}")
    assert corpus.citation.count("{") == corpus.citation.count("}")
    fields = set(re.findall(r"^  (\w+) = ", corpus.citation, re.MULTILINE))
    assert {"title", "author", "year"} <= fields


@every_corpus
def test_a_complete_copy_has_the_clips_of_the_data_sheet(name: str, clips_of: Clips) -> None:
    if name in LABELS_UNKNOWN:
        pytest.skip(LABELS_UNKNOWN[name])
    clips, corpus = clips_of(name), sheet(name)
    assert Counter(clip.native_label for clip in clips) == corpus.expected_clips
    if corpus.expected_speaker_clips:
        speakers = Counter(clip.speaker for clip in clips if clip.speaker is not None)
        assert speakers == corpus.expected_speaker_clips


@every_corpus
def test_a_complete_copy_has_the_speakers_of_the_data_sheet(name: str, clips_of: Clips) -> None:
    speakers = {clip.speaker for clip in clips_of(name)} - {None}
    assert len(speakers) == sheet(name).expected_speakers


@every_corpus
def test_every_clip_is_described_within_the_vocabulary(name: str, clips_of: Clips) -> None:
    clips, corpus = clips_of(name), sheet(name)
    assert len({clip.name for clip in clips}) == len(clips)
    assert all(re.fullmatch(r"[\w.-]+", clip.name, re.ASCII) for clip in clips), "file names"
    assert {clip.native_label for clip in clips} <= corpus.labels.keys()
    assert {clip.language for clip in clips} == set(corpus.languages)
    assert {clip.sex for clip in clips} <= {"female", "male", None}
    assert {clip.vocalisation for clip in clips} <= {"speech", "burst"}
    assert {clip.elicitation for clip in clips} <= {"acted", "elicited", "natural", None}
    assert {label for clip in clips for label, _ in clip.votes} <= {*EMOTIONS}
    assert all(clip.path.is_file() for clip in clips)
    assert not any(":" in (clip.speaker or "") for clip in clips), "build adds the prefix"


@every_corpus
def test_one_text_has_one_transcript_and_one_language(name: str, clips_of: Clips) -> None:
    texts = {
        (clip.text, None if name in DUBBED else clip.language, words(clip.transcript or ""))
        for clip in clips_of(name)
        if clip.text is not None
    }
    assert len(texts) == len({text for text, *_ in texts})


@every_corpus
def test_what_is_skipped_lies_below_the_root_and_says_why(name: str, tree: Tree) -> None:
    root = tree(name)
    for item in load_script(name)[1](root):
        if isinstance(item, Skipped):
            assert item.path.is_relative_to(root) and item.reason.strip()


@every_corpus
def test_names_do_not_depend_on_where_the_copy_lies(
    name: str, tree: Tree, clips_of: Clips, tmp_path: Path
) -> None:
    (tmp_path / "deeper" / "still").mkdir(parents=True)
    (tmp_path / "deeper" / "still" / "copy").symlink_to(tree(name), target_is_directory=True)
    clips = {clip.name: clip for clip in clips_of(name)}
    for clip in parsed(name, tmp_path / "deeper" / "still" / "copy"):
        assert clip.native_label == clips[clip.name].native_label
        assert clip.speaker == clips.pop(clip.name).speaker
    assert not clips


@every_corpus
def test_hidden_upper_case_and_foreign_files(
    name: str, tree: Tree, clips_of: Clips, tmp_path: Path
) -> None:
    clip = clips_of(name)[0]
    folder = tmp_path / clip.path.relative_to(tree(name)).parent
    file, upper = clip.path.name, f"{clip.path.stem}{clip.path.suffix.upper()}"
    touch(folder, [upper, f"._{file}", "notes.txt", f"copy of {file}", f"{file}.bak"])
    copy_tables(tree(name), tmp_path)
    found = parsed(name, tmp_path)
    assert [(each.path.name, each.name) for each in found] == [(upper, clip.name)]


@every_corpus
def test_no_file_of_another_corpus_is_claimed(name: str, shared: Path) -> None:
    foreign = {
        Path(file).name for other in NAMES if other != name for file in listed(shared, other)
    }
    pattern = re.compile(sheet(name).file_pattern)
    assert len(foreign) > 40_000
    assert not [file for file in foreign if pattern.fullmatch(file)]


@every_corpus
def test_a_folder_without_the_corpus_yields_nothing(name: str, tmp_path: Path) -> None:
    """Not even an error over a missing table: `build` asks every corpus what a folder holds."""
    other = "emodb" if name == "ravdess" else "ravdess"
    touch(tmp_path, [sheet(other).file_example, "table.csv", "readme.txt"])
    assert list(load_script(name)[1](tmp_path)) == []


@pytest.mark.parametrize(
    ("transcript", "same"),
    [
        ("You're late.", "youre late"),
        ("YOU’RE -- late?!", "youre late"),
        ("[LAUGHTER] You're [BREATHING] late", "youre late"),
        ("打远一看,", "打远一看"),
        ("[LAUGHTER]", None),
        ("...", None),
    ],
)
def test_the_same_words_are_one_text(transcript: str, same: str | None) -> None:
    assert words(transcript) == same


def test_published_integers_never_move() -> None:
    """The list may only grow at its end: datasets out there hold these positions."""
    assert EMOTIONS[:24] == (
        "neutral", "calm", "happy", "excited", "amused", "pleasure", "sad", "angry", "frustrated",
        "surprised", "fearful", "disgusted", "contempt", "bored", "sleepy", "anxious",
        "apologetic", "assertive", "concerned", "encouraging", "pain", "disappointed", "breath",
        "other",
    )  # fmt: skip
    assert len(set(EMOTIONS)) == len(EMOTIONS)
    assert FOUR == ("neutral", "happy", "sad", "angry")
    assert FIVE == ("neutral", "happy", "sad", "angry", "surprised")


def test_an_unknown_corpus_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"unknown corpus 'ravdes'; choose one of: .*ravdess"):
        load_script("ravdes")


def test_ravdess_names_mean_what_the_corpus_says(tree: Tree) -> None:
    clips = parsed("ravdess", tree("ravdess"))
    assert len(clips) == 1_440
    assert Counter(clip.speaker for clip in clips) == {f"{n:02}": 60 for n in range(1, 25)}
    for clip in clips:
        assert clip.sex == ("male" if int(clip.speaker or 0) % 2 else "female")
    assert all(clip.path.parent.name == f"Actor_{clip.speaker}" for clip in clips)
    assert Counter(clip.intensity for clip in clips) == {"normal": 768, "strong": 672}
    assert {clip.intensity for clip in clips if clip.native_label == "neutral"} == {"normal"}
    assert Counter(clip.transcript for clip in clips) == {
        "Kids are talking by the door.": 720,
        "Dogs are sitting by the door.": 720,
    }
    assert Counter(sheet("ravdess").labels[clip.native_label] for clip in clips) == {
        "neutral": 96, "calm": 192, "happy": 192, "sad": 192, "angry": 192, "fearful": 192,
        "disgusted": 192, "surprised": 192,
    }  # fmt: skip


def test_ravdess_fields_are_read_in_their_order(tmp_path: Path) -> None:
    (clip,) = parsed("ravdess", touch(tmp_path, ["Actor_12/03-01-06-02-01-02-12.wav"]))
    assert clip == SourceClip(
        path=tmp_path / "Actor_12" / "03-01-06-02-01-02-12.wav",
        name="03-01-06-02-01-02-12",
        native_label="fearful",
        speaker="12",
        language="en",
        sex="female",
        text="01",
        transcript="Kids are talking by the door.",
        intensity="strong",
    )


@pytest.mark.parametrize(
    "file",
    [
        "03-02-05-01-02-01-12.wav",  # song
        "01-01-05-01-02-01-12.mp4",  # video
        "02-01-05-01-02-01-12.wav",  # the sound of a video
        "03-01-09-01-02-01-12.wav",  # no such emotion
        "03-01-05-01-02-01.wav",  # six fields
        "03-01-05-01-02-01-12-13.wav",  # eight, as in ASVP-ESD
    ],
)
def test_ravdess_leaves_out_song_video_and_lookalikes(tmp_path: Path, file: str) -> None:
    assert parsed("ravdess", touch(tmp_path, [file])) == []


def test_the_doubled_ravdess_tree_of_kaggle_gives_each_name_twice(tmp_path: Path) -> None:
    file = "Actor_01/03-01-05-01-02-01-01.wav"
    twice = touch(tmp_path, [file, f"audio_speech_actors_01-24/{file}"])
    assert [clip.name for clip in parsed("ravdess", twice)] == [Path(file).stem] * 2


def test_emodb_speakers_are_who_the_corpus_says(shared: Path) -> None:
    clips = parsed("emodb", shared / "corpora" / "emodb")
    assert len(clips) == 535
    assert {(clip.speaker, clip.sex, clip.age) for clip in clips} == {
        ("03", "male", 31), ("08", "female", 34), ("09", "female", 21), ("10", "male", 32),
        ("11", "male", 26), ("12", "male", 30), ("13", "female", 32), ("14", "female", 35),
        ("15", "male", 25), ("16", "female", 31),
    }  # fmt: skip
    assert Counter(sheet("emodb").labels[clip.native_label] for clip in clips) == {
        "angry": 127, "bored": 81, "neutral": 79, "happy": 71, "fearful": 69, "sad": 62,
        "disgusted": 46,
    }  # fmt: skip
    assert len({clip.text for clip in clips}) == 10
    assert all(clip.transcript for clip in clips)


def test_emodb_fields_are_read_in_their_order(tmp_path: Path) -> None:
    (clip,) = parsed("emodb", touch(tmp_path, ["wav/16b09Tb.wav"]))
    assert clip == SourceClip(
        path=tmp_path / "wav" / "16b09Tb.wav",
        name="16b09Tb",
        native_label="sadness",
        speaker="16",
        language="de",
        sex="female",
        age=31,
        text="b09",
        transcript="Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    )
