"""IEMOCAP: labels and votes from EmoEvaluation, the speaker of a turn, plays and improvisations."""

from collections import Counter
from pathlib import Path

import pytest
from make_copies import Clips, listed, parsed, touch, write_evaluation

from dataset_scripts.corpus import Skipped
from dataset_scripts.iemocap import CORPUS, parse
from ser_generalize.errors import InputError
from ser_generalize.schema import SourceClip

TURN = "Ses02F_impro01_F001"
SAMPLE = (
    "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    "[16.4840 - 19.7791]\tSes02F_impro01_F001\tsur\t[2.0000, 2.5000, 2.5000]\n"
    "C-E1:\tExcited;\t()\n"
    "C-E2:\tSurprise;\t()\n"
    "C-E6:\tSurprise; Other;\t(taken aback)\n"
    "C-F2:\tFrustration; Other;\t(disbelief)\n"
    "A-E3:\tval 2; act 2; dom  2;\t()\n"
    "A-F2:\tval 2; act 2; dom  2;\t()\n\n"
    "[20.0000 - 21.0000]\tSes02F_impro01_M000\txxx\t[2.0000, 5.5000, 0.5000]\n"
    "C-E1:\tNeutral state;\t(\xe9)\n"
    "C-E2:\tAnger;\t()\n"
    "C-M2:\tFear;\t()\n\n"
)


def session(root: Path, turns: list[str], evaluation: str = SAMPLE) -> Path:
    """Make SessionN with the wav files of turns and the text of their dialog's label file."""
    name = f"Session{turns[0][4]}"
    dialogs = [turn.rpartition("_")[0] for turn in turns]
    files = zip(dialogs, turns, strict=True)
    touch(root / name, [f"sentences/wav/{dialog}/{turn}.wav" for dialog, turn in files])
    table = root / name / "dialog" / "EmoEvaluation" / f"{dialogs[0]}.txt"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text(evaluation, encoding="latin-1")
    return root


def test_the_listed_turns(shared: Path, clips_of: Clips) -> None:
    clips = clips_of("iemocap")
    assert len(clips) == len(listed(shared, "iemocap")) == 5_531
    assert Counter(clip.session for clip in clips) == {
        "Ses01": 1_085, "Ses02": 1_023, "Ses03": 1_151, "Ses04": 1_031, "Ses05": 1_241,
    }  # fmt: skip
    assert Counter(clip.elicitation for clip in clips) == {"elicited": 2_943, "acted": 2_588}
    speakers = Counter(clip.speaker for clip in clips)
    assert speakers.keys() == CORPUS.expected_speaker_clips.keys()
    assert all(count < CORPUS.expected_speaker_clips[str(who)] for who, count in speakers.items())
    for clip in clips:
        who, sex = clip.name.split("_")[-1][0], clip.sex
        assert clip.speaker == f"{clip.name[:5]}{who}" and sex == {"F": "female", "M": "male"}[who]
        assert clip.path.parts[-5] == f"Session{clip.name[4]}"


def test_the_published_counts_agree_with_each_other() -> None:
    assert sum(CORPUS.expected_clips.values()) == 10_039
    assert sum(CORPUS.expected_speaker_clips.values()) == 10_039
    four = ("neu", "hap", "exc", "ang", "sad")
    assert sum(CORPUS.expected_clips[code] for code in four) == 5_531


def test_a_turn_is_read_from_its_name_and_tables(tmp_path: Path) -> None:
    root = session(tmp_path, [TURN, "Ses02F_impro01_M000"])
    transcripts = root / "Session2" / "dialog" / "transcriptions" / "Ses02F_impro01.txt"
    transcripts.parent.mkdir()
    lines = [
        f"{TURN} [016.4840-019.7791]: You're [LAUGHTER] -- what?",
        "M: Ses02F_impro01_MXX0",
        "",
    ]
    transcripts.write_text("\n".join(lines), encoding="latin-1")
    woman, man = parsed("iemocap", root)
    assert woman == SourceClip(
        path=root / "Session2" / "sentences" / "wav" / "Ses02F_impro01" / f"{TURN}.wav",
        name=TURN,
        native_label="sur",
        speaker="Ses02F",
        language="en",
        sex="female",
        text="youre what",
        transcript="You're [LAUGHTER] -- what?",
        session="Ses02",
        votes=(("surprised", 2), ("excited", 1), ("other", 1)),
        elicitation="elicited",
    )
    assert (man.speaker, man.sex, man.native_label) == ("Ses02M", "male", "xxx")
    assert CORPUS.labels[man.native_label] is None
    assert man.votes == (("angry", 1), ("neutral", 1)), "the actors' own votes do not count"
    assert man.transcript is None and man.text is None


@pytest.mark.parametrize(
    ("turn", "speaker", "elicitation"),
    [
        ("Ses01M_impro05a_F003", "Ses01F", "elicited"),
        ("Ses03F_script01_1b_M010", "Ses03M", "acted"),
        ("Ses05M_script03_2_M041", "Ses05M", "acted"),
        ("Ses04F_impro08b_F000", "Ses04F", "elicited"),
    ],
)
def test_dialogs_with_letters_and_plays(
    tmp_path: Path, turn: str, speaker: str, elicitation: str
) -> None:
    write_evaluation(tmp_path / f"Session{turn[4]}" / "dialog", {turn: ("fru", ["Frustration"])})
    dialog = turn.rpartition("_")[0]
    touch(tmp_path, [f"Session{turn[4]}/sentences/wav/{dialog}/{turn}.wav"])
    (clip,) = parsed("iemocap", tmp_path)
    assert (clip.speaker, clip.elicitation) == (speaker, elicitation)
    assert clip.votes == (("frustrated", 1),)


def test_the_same_line_of_a_play_is_one_text_in_all_sessions(tmp_path: Path) -> None:
    for number, line in ((1, "No, I don't."), (2, "No -- I don't!"), (3, "No, I do not.")):
        turn = f"Ses0{number}F_script01_1_F000"
        root = tmp_path / f"Session{number}"
        write_evaluation(root / "dialog", {turn: ("neu", ["Neutral"])})
        touch(root, [f"sentences/wav/Ses0{number}F_script01_1/{turn}.wav"])
        transcripts = root / "dialog" / "transcriptions" / f"Ses0{number}F_script01_1.txt"
        touch(transcripts.parent, [transcripts.name])
        transcripts.write_text(f"{turn} [001.0000-002.0000]: {line}\n", encoding="latin-1")
    texts = [clip.text for clip in parsed("iemocap", tmp_path)]
    assert texts == ["no i dont", "no i dont", "no i do not"]


def test_single_raters_files_and_hidden_ones_are_not_read(tmp_path: Path) -> None:
    folder = session(tmp_path, [TURN, "Ses02F_impro01_M000"]) / "Session2/dialog/EmoEvaluation"
    touch(folder, ["._Ses02F_impro01.txt", "Categorical/Ses02F_impro01_e2_cat.txt"])
    touch(folder, ["Attribute/Ses02F_impro01.txt", "Self-evaluation/Ses02F_impro01.txt"])
    wrong = SAMPLE.replace("\tsur\t", "\tneu\t")
    for path in [*folder.glob("*/*.txt"), folder / "._Ses02F_impro01.txt"]:
        path.write_text(wrong, encoding="latin-1")
    assert [clip.native_label for clip in parsed("iemocap", tmp_path)] == ["sur", "xxx"]
    assert not [item for item in parse(tmp_path) if isinstance(item, Skipped)]


def test_what_is_on_one_side_only_is_listed(tmp_path: Path) -> None:
    root = session(tmp_path, [TURN, "Ses02F_impro01_F009"])
    folder = root / "Session2" / "sentences" / "wav" / "Ses02F_impro01"
    assert [item for item in parse(root) if isinstance(item, Skipped)] == [
        Skipped(folder / "Ses02F_impro01_F009.wav", "it has no row in Ses02F_impro01.txt"),
        Skipped(
            folder / "Ses02F_impro01_M000.wav",
            "named in Ses02F_impro01.txt, but the file is not there",
        ),
    ]


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        ("\tsur\t", "\tjoy\t", "unknown label 'joy' in Ses02F_impro01.txt"),
        ("Excited", "Elated", "unknown choice 'elated' of a rater in Ses02F_impro01.txt"),
    ],
)
def test_words_that_the_corpus_does_not_have_are_listed(
    tmp_path: Path, right: str, wrong: str, reason: str
) -> None:
    root = session(tmp_path, [TURN, "Ses02F_impro01_M000"], SAMPLE.replace(right, wrong))
    items = list(parse(root))
    assert [item.reason for item in items if isinstance(item, Skipped)] == [reason]
    assert len(items) == 2


def test_a_dialog_without_its_labels_is_refused(tmp_path: Path) -> None:
    root = session(tmp_path, [TURN, "Ses02F_impro01_M000"])
    touch(root, ["Session2/sentences/wav/Ses02M_impro02/Ses02M_impro02_F000.wav"])
    missing = r"Ses02M_impro02_F000\.wav has no label: dialog/EmoEvaluation/Ses02M_impro02\.txt is"
    with pytest.raises(InputError, match=missing):
        parsed("iemocap", root)


@pytest.mark.parametrize("folder", ["EmoEvaluation", "transcriptions"])
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, folder: str) -> None:
    root = session(tmp_path, [TURN, "Ses02F_impro01_M000"])
    touch(root, [f"Session2/dialog/{folder}/Ses02F_impro07.txt/notes"])
    with pytest.raises(InputError, match=r"cannot read .*Ses02F_impro07\.txt \(Is a directory\)"):
        parsed("iemocap", root)


@pytest.mark.parametrize(
    "file",
    [
        "Session1/dialog/wav/Ses01F_impro01.wav",  # both speakers, one a channel
        "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_FXX0.wav",
        "Session6/sentences/wav/Ses06F_impro01/Ses06F_impro01_F000.wav",
    ],
)
def test_whole_dialogs_and_lookalikes_are_foreign(tmp_path: Path, file: str) -> None:
    assert list(parse(touch(tmp_path, [file]))) == []
