"""EmoFilm: dubbed lines, and the speakers and films of a workbook that was typed by hand."""

import shutil
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from make_copies import Clips, listed, parsed, touch, write_legend
from openpyxl import Workbook, load_workbook

from dataset_scripts.corpus import Skipped, load_script
from ser_generalize.errors import InputError
from ser_generalize.schema import SourceClip

CORPUS, parse = load_script("emofilm")
LEGEND = "f_m_corpus_it_es_en_legend.xlsx"


def speakers_and_films(root: Path, *rows: tuple[str | None, str | None]) -> list[tuple[str, str]]:
    """Return what the legend's spellings of speakers and films are read as."""
    names = [f"m_rab{number:03}ait" for number in range(1, len(rows) + 1)]
    touch(root, [f"wav_corpus/{name}.wav" for name in names])
    write_legend(root, [(name, *row) for name, row in zip(names, rows, strict=True)])
    return [(clip.speaker, clip.session) for clip in parsed("emofilm", root)]


def test_a_clip_says_what_its_name_and_the_legend_say(tmp_path: Path) -> None:
    touch(tmp_path, ["EmoFilm/wav_corpus/f_dis012bes.wav"])
    write_legend(tmp_path / "EmoFilm", [("f_dis012bes", "María Moscardó", "SAW")])
    (clip,) = parse(tmp_path)
    assert clip == SourceClip(
        path=tmp_path / "EmoFilm" / "wav_corpus" / "f_dis012bes.wav",
        name="f_dis012bes",
        native_label="disprezzo",
        speaker="maria moscardo",
        language="es",
        sex="female",
        text="f_dis012b",
        session="saw",
    )
    assert CORPUS.labels[clip.native_label] == "contempt"


@pytest.mark.parametrize("file", ["wav_corpus_16k/f_dis012bes_16k.wav", "f_dis012bes.WAV"])
def test_the_name_is_that_of_the_legend_whatever_the_copy_adds(tmp_path: Path, file: str) -> None:
    touch(tmp_path, [file])
    write_legend(tmp_path, [("f_dis012bes", "somebody", "a film")])
    (clip,) = parsed("emofilm", tmp_path)
    assert (clip.name, clip.speaker) == ("f_dis012bes", "somebody")


def test_spellings_of_one_person_or_film_are_one(tmp_path: Path) -> None:
    found = speakers_and_films(
        tmp_path,
        ("Camilo García", "Saw"),
        ("camilo garcia ", "SAW"),
        ("Robert Duvall", "million dollar baby"),
        ("robert duval", "Million Dolar Baby"),
        ("constantino romero", "american history x"),
        ("constantino romero+6", "american hisotry x"),
    )
    assert found == [
        *[("camilo garcia", "saw")] * 2,
        *[("robert duvall", "million dollar baby")] * 2,
        *[("constantino romero", "american history x")] * 2,
    ]


@pytest.mark.parametrize("unknown", ["????", "?", "", " ", None])
def test_speakers_that_nobody_knows_are_not_one_speaker(
    tmp_path: Path, unknown: str | None
) -> None:
    assert speakers_and_films(tmp_path, (unknown, "saw")) == [(None, "saw")]


def test_a_line_that_the_legend_lacks_has_no_speaker_and_no_film(tmp_path: Path) -> None:
    touch(tmp_path, ["f_gio001aen.wav", "f_gio002aen.wav"])
    write_legend(tmp_path, [("f_gio002aen", "somebody", "a film")])
    clips = parsed("emofilm", tmp_path)
    assert [(clip.speaker, clip.session) for clip in clips] == [
        (None, None),
        ("somebody", "a film"),
    ]


def test_without_the_legend_the_clips_are_there_and_what_is_unknown_is_said(
    tmp_path: Path,
) -> None:
    clip, missing = parse(touch(tmp_path, ["m_tri004ces.wav"]))
    assert isinstance(clip, SourceClip)
    assert (clip.speaker, clip.session, clip.sex) == (None, None, "male")
    assert missing == Skipped(
        tmp_path / LEGEND, "not there, so that speakers and films are unknown"
    )


def test_a_legend_that_is_none_is_named(tmp_path: Path) -> None:
    touch(tmp_path, ["m_tri004ces.wav"])
    (tmp_path / LEGEND).write_bytes(b"<!doctype html><title>404</title>")
    with pytest.raises(InputError, match=rf"{LEGEND} is no Excel workbook .*get the corpus's own"):
        list(parse(tmp_path))


@pytest.mark.parametrize("head", [["file", "speaker"], ["name", "speaker", "film"]])
def test_a_legend_without_a_column_is_named(tmp_path: Path, head: list[str]) -> None:
    touch(tmp_path, ["m_tri004ces.wav"])
    workbook = Workbook()
    assert workbook.active is not None
    workbook.active.append(head)
    workbook.save(tmp_path / LEGEND)
    with pytest.raises(InputError, match=rf"{LEGEND}, sheet Sheet, has no column (film|file)"):
        list(parse(tmp_path))


def test_a_sheet_that_excel_added_is_no_mistake(tmp_path: Path) -> None:
    touch(tmp_path, ["m_tri004ces.wav"])
    path = write_legend(tmp_path, [("m_tri004ces", "somebody", "a film")])
    workbook = load_workbook(path)
    workbook.create_sheet("Sheet3")
    workbook.save(path)
    assert [clip.speaker for clip in parsed("emofilm", tmp_path)] == ["somebody"]


@pytest.mark.parametrize(
    "file",
    [
        "f_neu001aen.wav",  # there is no neutral
        "f_ans001afr.wav",
        "f_ans01aen.wav",
        "x_ans001aen.wav",
        "f_ans001en.wav",
        "f_ans001aen_8k.wav",
    ],
)
def test_lookalikes_are_left_out(tmp_path: Path, file: str) -> None:
    assert list(parse(touch(tmp_path, [file]))) == []


def test_the_resampled_copy_gives_the_same_names_and_speakers(
    clips_of: Clips, shared: Path, tmp_path: Path
) -> None:
    original = {clip.name: (clip.speaker, clip.session) for clip in clips_of("emofilm")}
    folder = clips_of("emofilm")[0].path.parents[1]
    shutil.copy(folder / LEGEND, tmp_path)
    stems = [Path(file).stem for file in listed(shared, "emofilm")]
    touch(tmp_path, [f"wav_corpus_16k/{stem}_16k.wav" for stem in stems])
    again = {clip.name: (clip.speaker, clip.session) for clip in parsed("emofilm", tmp_path)}
    assert len(again) == 1_115
    assert again == original


def test_every_name_means_what_the_corpus_says(clips_of: Clips) -> None:
    clips = clips_of("emofilm")
    assert Counter(clip.sex for clip in clips) == {"female": 537, "male": 578}
    counts = Counter((clip.language, CORPUS.labels[clip.native_label]) for clip in clips)
    emotions = ("fearful", "contempt", "happy", "angry", "sad")
    assert {
        language: tuple(counts[language, emotion] for emotion in emotions)
        for language in ("en", "es", "it")
    } == {"en": (72, 50, 70, 77, 74), "es": (64, 50, 76, 82, 87), "it": (85, 68, 94, 73, 93)}


def test_dubs_of_one_scene_share_a_text(clips_of: Clips) -> None:
    languages = defaultdict(set)
    for clip in clips_of("emofilm"):
        languages[clip.text].add(clip.language)
    assert len(languages) == 591
    assert Counter(map(len, languages.values())) == {3: 163, 2: 198, 1: 230}
