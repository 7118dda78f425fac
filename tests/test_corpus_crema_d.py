"""CREMA-D: names, the people behind them, and what listeners of the voice alone heard."""

import csv
from collections import Counter, defaultdict
from itertools import product
from pathlib import Path

import pytest
from make_copies import Clips, parsed, touch
from make_trees import rows

from dataset_scripts.build import build
from dataset_scripts.corpus import Skipped, load_script
from ser_generalize.errors import InputError
from ser_generalize.schema import SourceClip

CORPUS, parse = load_script("crema_d")
PEOPLE = """"ActorID","Age","Sex","Race","Ethnicity"
1001,51,"Male","Caucasian","Not Hispanic"
1091,29,"Female","Asian","Not Hispanic"
"""
# The first digit of a row's number says what the raters saw: 1 nothing, 2 the face alone, 3 both.
COUNTS = """"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote"
"100009",5,5,0,0,1,1,"1001_IEO_ANG_MD",12,0.41,"A:D"
"200009",9,0,0,0,0,0,"1001_IEO_ANG_MD",9,1,"A"
"300009",0,0,0,0,0,9,"1001_IEO_ANG_MD",9,1,"S"
"""
WINNERS = """"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel"
"9","1001_IEO_ANG_MD","F:N","37.2:58.6","A","45.5"
"""
FILE = "AudioWAV/1001_IEO_ANG_MD.wav"


def tree(root: Path, *files: str, **tables: str) -> Path:
    touch(root, files)
    for name, text in tables.items():
        path = root / "processedResults" / f"{name}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_a_clip_says_what_its_name_and_the_tables_say(tmp_path: Path) -> None:
    source = tree(
        tmp_path, FILE, VideoDemographics=PEOPLE, tabulatedVotes=COUNTS, summaryTable=WINNERS
    )
    assert list(parse(source)) == [
        SourceClip(
            path=tmp_path / FILE,
            name="1001_IEO_ANG_MD",
            native_label="anger",
            speaker="1001",
            language="en",
            sex="male",
            age=51,
            text="IEO",
            transcript="It's eleven o'clock.",
            intensity="medium",
            votes=(("angry", 5), ("disgusted", 5), ("neutral", 1), ("sad", 1)),
        )
    ]


def test_without_counts_the_winners_are_the_votes_and_nobody_says_how_many(tmp_path: Path) -> None:
    source = tree(tmp_path, FILE, VideoDemographics=PEOPLE, summaryTable=WINNERS)
    (clip,) = parsed("crema_d", source)
    assert clip.votes == (("fearful", None), ("neutral", None))


def test_without_tables_the_clips_are_there_and_what_is_unknown_is_said(tmp_path: Path) -> None:
    clip, *missing = parse(tree(tmp_path, FILE))
    assert isinstance(clip, SourceClip)
    assert (clip.sex, clip.age, clip.votes) == (None, None, ())
    assert missing == [
        Skipped(tmp_path / "VideoDemographics.csv", "not there, so that sex and age are unknown"),
        Skipped(
            tmp_path / "tabulatedVotes.csv", "not there, so that no clip has votes of listeners"
        ),
    ]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "has no column "),
        ('"ActorID","Age"\n1001,51\n', "has no column Sex; get the corpus's own table"),
        ('"ActorID","Age","Sex"\n1001,51,"Male"\n1002,2', "ends within line 3; get it anew"),
    ],
)
def test_a_broken_table_is_named(tmp_path: Path, table: str, says: str) -> None:
    with pytest.raises(InputError, match=rf"VideoDemographics\.csv {says}"):
        list(parse(tree(tmp_path, FILE, VideoDemographics=table)))


@pytest.mark.parametrize(
    ("level", "intensity"), [("LO", "low"), ("MD", "medium"), ("HI", "high"), ("XX", None)]
)
def test_levels_are_intensities(tmp_path: Path, level: str, intensity: str | None) -> None:
    (clip,) = parsed("crema_d", touch(tmp_path, [f"1091_IEO_SAD_{level}.wav"]))
    assert clip.intensity == intensity


def test_the_name_with_an_x_too_few_is_the_clip_that_it_means(tmp_path: Path) -> None:
    (clip,) = parsed("crema_d", touch(tmp_path, ["AudioWAV/1040_ITH_SAD_X.wav"]))
    assert (clip.name, clip.native_label, clip.intensity) == ("1040_ITH_SAD_XX", "sad", None)


def test_what_raters_heard_as_mp3_and_saw_as_film_is_not_a_second_clip(tmp_path: Path) -> None:
    name = "1001_DFA_ANG_XX"
    kept = f"AudioWAV/{name}.wav"
    touch(tmp_path, [kept, f"AudioMP3/{name}.mp3", f"VideoFlash/{name}.flv", f"{name}.mp4"])
    assert [clip.path for clip in parsed("crema_d", tmp_path)] == [tmp_path / kept]


def test_the_clip_without_speech_is_skipped(tmp_path: Path) -> None:
    silent = "AudioWAV/1076_MTI_SAD_XX.wav"
    clip, skipped, *_ = parse(touch(tmp_path, ["AudioWAV/1076_MTI_NEU_XX.wav", silent]))
    assert isinstance(clip, SourceClip)
    assert skipped == Skipped(tmp_path / silent, "has no speech, as the authors of the corpus say")


@pytest.mark.parametrize(
    "file",
    [
        "1001_IEO_ANG_MED.wav",  # no such level
        "1001_XYZ_ANG_XX.wav",  # no such sentence
        "1001_IEO_SUR_XX.wav",  # no such emotion
        "101_IEO_ANG_XX.wav",
        "1001_IEO_ANG_XX_1.wav",
    ],
)
def test_lookalikes_are_left_out(tmp_path: Path, file: str) -> None:
    assert list(parse(touch(tmp_path, [file]))) == []


def test_exactly_the_cells_that_were_not_recorded_are_missing(clips_of: Clips) -> None:
    emotions = {"ANG", "DIS", "FEA", "HAP", "NEU", "SAD"}
    sentences = {clip.text for clip in clips_of("crema_d")}
    cells = {
        f"{actor}_{text}_{emotion}"
        for actor, text, emotion in product(range(1001, 1092), sentences, emotions)
    }
    assert len(sentences) == 12
    assert cells - {clip.name[:-3] for clip in clips_of("crema_d")} == {
        "1002_TIE_NEU",
        *(f"1008_WSI_{emotion}" for emotion in emotions),
        *(f"1009_MTI_{emotion}" for emotion in emotions),
        *(f"1019_ITH_{emotion}" for emotion in emotions),
        "1076_ITS_NEU",
        "1076_MTI_SAD",  # there, without speech
    }


def test_only_one_sentence_was_asked_for_at_three_levels(clips_of: Clips) -> None:
    levels = Counter(clip.intensity for clip in clips_of("crema_d"))
    assert levels == {None: 6_076, "low": 455, "medium": 455, "high": 455}
    assert {clip.text for clip in clips_of("crema_d") if clip.intensity} == {"IEO"}


def test_the_people_are_who_the_corpus_says(clips_of: Clips) -> None:
    people = {(clip.speaker, clip.sex, clip.age) for clip in clips_of("crema_d")}
    assert len(people) == 91
    assert Counter(sex for _, sex, _ in people) == {"male": 48, "female": 43}
    ages = [age for *_, age in people if age is not None]
    assert (len(ages), min(ages), max(ages)) == (91, 20, 74)
    assert {
        ("1001", "male", 51), ("1002", "female", 21), ("1015", "male", 32), ("1091", "female", 29)
    } <= people  # fmt: skip


def test_the_votes_are_those_of_the_published_table(clips_of: Clips) -> None:
    """The clip without speech, which is neither a tie nor rightly heard, is one of the neutral."""
    clips = clips_of("crema_d")
    assert sum(len(clip.votes) > 1 for clip in clips) == 644
    alone = [(clip, clip.votes[0][0]) for clip in clips if len(clip.votes) == 1]
    assert len(alone) == 7_441 - 644
    assert sum(heard == "neutral" for _, heard in alone) == 3_897 - 1
    assert sum(heard == CORPUS.labels[clip.native_label] for clip, heard in alone) == 3_099


def test_the_recordings_that_contradict_themselves_are_the_known_ones(
    clips_of: Clips, shared: Path
) -> None:
    labels = {clip.path.name: clip.native_label for clip in clips_of("crema_d")}
    same = defaultdict(list)
    with (shared / "manifests" / "crema_d.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            same[row["sha256"]].append(Path(row["path"]).name)
    pairs = [names for names in same.values() if len(names) > 1]
    assert len(pairs) == 3
    faults = " ".join(CORPUS.known_faults)
    for first, second in pairs:
        assert labels[first] != labels[second]
        assert first[:12] in faults and second[:12] in faults


def test_real_recordings_build_with_their_votes(shared: Path, tmp_path: Path) -> None:
    clips, skipped = build("crema_d", shared / "corpora" / "crema_d", tmp_path / "data")
    assert (clips, skipped) == (7, [])
    built = {row["clip_id"]: row for row in rows(tmp_path / "data", "crema_d")}
    row = built["crema_d/1001_IOM_DIS_XX"]
    assert row["votes"] == [{"label": "neutral", "count": None}]
    assert (row["native_label"], row["speaker"]) == ("disgust", "crema_d:1001")
    assert row["source_sampling_rate"] == 16_000
    assert all(1 < row["duration"] < 6 for row in built.values())
