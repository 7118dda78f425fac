"""One contract for every registered corpus, and what the real names of each one say."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from dataset_scripts.card import hub_licence
from dataset_scripts.corpus import Corpus, corpus_names, load_script
from ser_generalize.errors import InputError
from ser_generalize.labels import EMOTIONS, FIVE, FOUR
from ser_generalize.schema import SourceClip

# What the Hub accepts as `license`, of which these are the ones that corpora have.
HUB_LICENCES = {
    "other", "odbl", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nd-4.0",
    "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0",
}  # fmt: skip

every_corpus = pytest.mark.parametrize("name", corpus_names())
Tree = Callable[[str], Path]


def touch(root: Path, names: Iterable[str]) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def parsed(name: str, root: Path) -> list[SourceClip]:
    return [clip for clip in load_script(name)[1](root) if isinstance(clip, SourceClip)]


def listed(shared: Path, name: str) -> list[str]:
    lines = (shared / "listings" / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t")[0] for line in lines[1:]]


@pytest.fixture(scope="module")
def tree(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The folder of a complete copy of a corpus: empty files of its real names, or the corpus."""
    made: dict[str, Path] = {}

    def complete(name: str) -> Path:
        if not (shared / "listings" / f"{name}.tsv").is_file():
            return shared / "corpora" / name
        if name not in made:
            made[name] = touch(tmp_path_factory.mktemp(name), listed(shared, name))
        return made[name]

    return complete


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
        assert sum(corpus.expected_speaker_clips.values()) == total
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
def test_a_complete_copy_has_the_clips_and_speakers_of_the_data_sheet(
    name: str, tree: Tree
) -> None:
    clips, corpus = parsed(name, tree(name)), sheet(name)
    assert Counter(clip.native_label for clip in clips) == corpus.expected_clips
    assert len({clip.speaker for clip in clips}) == corpus.expected_speakers
    if corpus.expected_speaker_clips:
        assert Counter(clip.speaker for clip in clips) == corpus.expected_speaker_clips


@every_corpus
def test_every_clip_is_described_within_the_vocabulary(name: str, tree: Tree) -> None:
    clips, corpus = parsed(name, tree(name)), sheet(name)
    assert len({clip.name for clip in clips}) == len(clips)
    assert {clip.native_label for clip in clips} <= corpus.labels.keys()
    assert {clip.language for clip in clips} == set(corpus.languages)
    assert {clip.sex for clip in clips} <= {"female", "male", None}
    assert {clip.vocalisation for clip in clips} <= {"speech", "burst"}
    assert all(clip.path.is_file() for clip in clips)
    assert not any(":" in (clip.speaker or "") for clip in clips), "build adds the prefix"
    transcripts = {(clip.text, clip.transcript) for clip in clips}
    assert len(transcripts) == len({text for text, _ in transcripts}), "one text, one transcript"


@every_corpus
def test_names_do_not_depend_on_where_the_copy_lies(name: str, tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "deeper" / "still").mkdir(parents=True)
    (tmp_path / "deeper" / "still" / "copy").symlink_to(tree(name), target_is_directory=True)
    clips = {clip.name: clip for clip in parsed(name, tree(name))}
    for clip in parsed(name, tmp_path / "deeper" / "still" / "copy"):
        assert clip.native_label == clips[clip.name].native_label
        assert clip.speaker == clips.pop(clip.name).speaker
    assert not clips


@every_corpus
def test_hidden_upper_case_and_foreign_files(name: str, tree: Tree, tmp_path: Path) -> None:
    clip = parsed(name, tree(name))[0]
    folder = tmp_path / clip.path.relative_to(tree(name)).parent
    file, upper = clip.path.name, f"{clip.path.stem}{clip.path.suffix.upper()}"
    touch(folder, [upper, f"._{file}", "notes.txt", f"copy of {file}", f"{file}.bak"])
    found = parsed(name, tmp_path)
    assert [(each.path.name, each.name) for each in found] == [(upper, clip.name)]


@every_corpus
def test_no_file_of_another_corpus_is_claimed(name: str, shared: Path) -> None:
    foreign = {
        Path(file).name
        for listing in (shared / "listings").glob("*.tsv")
        if not listing.stem.startswith(name)
        for file in listed(shared, listing.stem)
    }
    pattern = re.compile(sheet(name).file_pattern)
    assert len(foreign) > 50_000
    assert not [file for file in foreign if pattern.fullmatch(file)]


@every_corpus
def test_an_empty_folder_yields_nothing(name: str, tmp_path: Path) -> None:
    assert parsed(name, tmp_path) == []


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
