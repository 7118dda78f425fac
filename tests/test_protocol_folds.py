"""Protocols one by one: who shares a fold, whose folds are whose, and what is refused."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_clips import CLASSES, Columns, corpus, named, speaker, together

from ser_generalize.errors import InputError
from ser_generalize.protocols import FOLD_CLIPS, Clips, Fold, IndivisibleError, make_folds

SETTINGS = settings(deadline=None, derandomize=True)
EMOBOX = (
    {1, 11, 20, 21}, {4, 10, 12, 14}, {8, 9, 19, 23}, {3, 5, 7, 24}, {2, 15, 16, 18},
    {6, 13, 17, 22},
)  # fmt: skip


def of_speakers(sizes: dict[str | None, int], name: str = "c") -> Columns:
    """Return a corpus with so many clips of every speaker."""
    return together([speaker(who, clips, name) for who, clips in sizes.items()])


def ravdess(actors: range) -> Columns:
    return together([speaker(f"{actor:02d}", 16, "ravdess") for actor in actors])


def heard_in(columns: Columns, folds: list[Fold], column: str = "speaker") -> dict[str, set[str]]:
    return {fold.name: {str(columns[column][row]) for row in fold.test} for fold in folds}


# leave one speaker out


@SETTINGS
@given(st.lists(st.integers(1, 30), min_size=2, max_size=20))
def test_speakers_with_few_clips_share_folds_and_others_have_their_own(sizes: list[int]) -> None:
    columns = of_speakers({f"{n:02d}": size for n, size in enumerate(sizes)})
    folds = make_folds("loso", Clips.of(columns))
    clips = Counter(columns["speaker"])
    small = {name for name, count in clips.items() if count < FOLD_CLIPS}
    for name, speakers in heard_in(columns, folds).items():
        if len(speakers) > 1:
            assert speakers <= small
            assert sum(clips[one] for one in speakers) >= FOLD_CLIPS or speakers == small
        else:
            assert speakers == {name}


@pytest.mark.parametrize("size", [1, 4, 9])
def test_many_tiny_speakers_make_few_folds(size: int) -> None:
    columns = of_speakers({f"{n:02d}": size for n in range(29)})
    folds = make_folds("loso", Clips.of(columns))
    assert sum(len(fold.test) for fold in folds) == 29 * size
    assert all(FOLD_CLIPS <= len(fold.test) < 3 * FOLD_CLIPS for fold in folds)


def test_a_corpus_of_tiny_speakers_alone_is_still_split() -> None:
    columns = of_speakers({"tiny": 3, "small": 9, None: 2})
    folds = make_folds("loso", Clips.of(columns))
    assert [(fold.name, len(fold.test), len(fold.train)) for fold in folds] == [
        ("c:small", 9, 5), ("c:tiny", 3, 11),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["loso", "within"])
@pytest.mark.parametrize("sizes", [{"lonely": 40}, {"lonely": 40, None: 40}])
def test_nobody_to_train_on_is_refused(name: str, sizes: dict[str | None, int]) -> None:
    columns = together([corpus("a"), of_speakers(sizes, "bad")])
    line = rf"corpus bad leaves nothing to train on .* another speaker, as protocol {name} wants"
    with pytest.raises(IndivisibleError, match=line):
        make_folds(name, Clips.of(columns))


def test_a_corpus_of_one_speaker_can_be_tested_by_the_union() -> None:
    columns = together([corpus("a"), of_speakers({"lonely": 40}, "b")])
    *_, last = make_folds("loso", Clips.of(columns), "union")
    assert (last.name, len(last.test)) == ("b:lonely", 40)


def test_a_corpus_of_unknown_speakers_is_refused() -> None:
    columns = together([corpus("a"), of_speakers({None: 40}, "bad")])
    with pytest.raises(
        IndivisibleError, match="by speaker, and corpus bad names none among its 40"
    ):
        make_folds("loso", Clips.of(columns), "union")


def test_a_recording_under_two_speakers_is_refused() -> None:
    columns = of_speakers({"a": 12, "b": 12})
    columns["sha256"][0] = columns["sha256"][-1]
    with pytest.raises(InputError, match=r"fold c:a leaks: recording .* c/b-011 is in both"):
        make_folds("loso", Clips.of(columns))


def test_copies_on_the_training_side_are_no_leak_and_not_validated_on() -> None:
    copied, other = corpus("a", speakers=6), corpus("b", speakers=6)
    number = [str(clip_id)[-3:] for clip_id in copied["clip_id"]]
    columns = together([copied | {"sha256": number}, other])
    a, b = make_folds("loco", Clips.of(columns))
    assert len(a.validation) > 0
    assert len(b.validation) == 0  # every clip of a validation speaker is one of a training speaker
    assert 0 < len(b.train) < len(copied["clip_id"])


def test_one_name_for_the_speakers_of_two_corpora_is_refused_by_the_union() -> None:
    columns = together([of_speakers({"1": 12, "2": 12}, name) for name in "ab"])
    columns["speaker"] = [str(name).partition(":")[2] for name in columns["speaker"]]
    make_folds("loso", Clips.of(columns), "each")
    with pytest.raises(InputError, match=r"leaks: speaker 1 is in both .* --corpora"):
        make_folds("loso", Clips.of(columns), "union")


# sessions, texts, splits, clips


def test_a_session_is_left_out_with_all_that_its_speakers_say() -> None:
    """EmoFilm's dubbers speak in several films."""
    guest = speaker("01", 12, session="s3")
    guest["clip_id"] = [f"{clip_id} again" for clip_id in guest["clip_id"]]
    guest["sha256"] = guest["clip_id"]
    columns = together([corpus(speakers=6), guest])
    folds = named(columns, make_folds("session", Clips.of(columns)))
    assert list(folds) == ["c:s1", "c:s2", "c:s3"]
    first = folds["c:s1"]
    assert not set(map(str, guest["clip_id"])) & (first["train"] | first["validation"])
    assert set(map(str, guest["clip_id"])) <= folds["c:s3"]["test"]


def test_within_spreads_speakers_and_classes_over_five_folds() -> None:
    speakers = [speaker(f"{n:02d}", 20, classes=CLASSES if n % 2 else ("sad",)) for n in range(20)]
    columns = together(speakers)
    folds = make_folds("within", Clips.of(columns))
    assert [fold.name for fold in folds] == [f"c {n} of 5" for n in range(1, 6)]
    for fold in folds:
        assert Counter(columns["label"][row] for row in fold.test) == {
            "angry": 10, "happy": 10, "neutral": 10, "sad": 50,
        }  # fmt: skip
    few = make_folds("within", Clips.of(of_speakers({"a": 12, "b": 12})))
    assert [fold.name for fold in few] == ["c 1 of 2", "c 2 of 2"]


def test_text_trains_on_other_speakers_with_other_texts() -> None:
    columns = corpus(speakers=6)
    folds = make_folds("text", Clips.of(columns))
    assert len(folds) == 5 * 2
    for fold in folds:
        (said,) = {columns["text_id"][row] for row in fold.test}
        heard = {columns["speaker"][row] for row in fold.test}
        rows = {*fold.train.tolist(), *fold.validation.tolist()}
        assert rows == {
            row
            for row in range(len(columns["clip_id"]))
            if columns["text_id"][row] != said and columns["speaker"][row] not in heard
        }


def test_a_single_text_leaves_nothing_to_train_on() -> None:
    columns = together([speaker(f"{n}", 12, texts=("t1",)) for n in range(4)])
    line = "none of another speaker and another text, as protocol text wants"
    with pytest.raises(IndivisibleError, match=line):
        make_folds("text", Clips.of(columns))


@pytest.mark.parametrize("dev", ["dev", "evaluation"])  # as MELD and as ESD call it
def test_the_official_split_is_taken_as_it_is(dev: str) -> None:
    columns = together([speaker(f"{n}", 12, splits=("train", dev, "test", None)) for n in range(2)])
    (fold,) = make_folds("official", Clips.of(columns))
    for part, split in (("train", "train"), ("validation", dev), ("test", "test")):
        rows = getattr(fold, part)
        assert [columns["official_split"][row] for row in rows] == [split] * 6


def test_a_split_without_a_test_part_is_refused() -> None:
    columns = together([corpus("a"), speaker("1", 12, "b", splits=("train", "dev"))])
    with pytest.raises(IndivisibleError, match="b has no clip in the test part of its own split"):
        make_folds("official", Clips.of(columns))


def test_random_folds_spread_the_classes() -> None:
    columns = corpus(speakers=5, clips=20)
    for fold in make_folds("random", Clips.of(columns)):
        for rows, each in ((fold.test, 5), (fold.validation, 4)):
            assert set(Counter(columns["label"][row] for row in rows).values()) == {each}


# EmoBox


@pytest.mark.parametrize("actors", [range(1, 25), range(1, 13)], ids=["all", "half"])
def test_emobox_keeps_its_actors_on_a_partial_copy(actors: range) -> None:
    columns = ravdess(actors)
    folds = make_folds("emobox", Clips.of(columns))
    assert [fold.name for fold in folds] == [f"ravdess emobox {n}" for n in range(1, 7)]
    found = [{int(name[-2:]) for name in names} for names in heard_in(columns, folds).values()]
    assert found == [wanted & set(actors) for wanted in EMOBOX]


def test_emobox_leaves_out_speakers_of_savee_and_jl_and_sessions_of_iemocap() -> None:
    few = together([corpus("savee"), of_speakers({"x": 4, "y": 4}, "jl_corpus")])
    columns = together([few, corpus("iemocap")])
    assert list(heard_in(columns, make_folds("emobox", Clips.of(columns)))) == [
        "iemocap:s1", "iemocap:s2", "jl_corpus:x", "jl_corpus:y",
        "savee:01", "savee:02", "savee:03", "savee:04",
    ]  # fmt: skip


def test_emobox_is_for_the_corpora_whose_folds_keep_speakers_apart() -> None:
    line = "no speaker-disjoint folds for c, only for iemocap, jl_corpus, ravdess, savee"
    with pytest.raises(IndivisibleError, match=line):
        make_folds("emobox", Clips.of(corpus()))
    with pytest.raises(
        IndivisibleError, match="ravdess leaves nothing to train on when ravdess em"
    ):
        make_folds("emobox", Clips.of(ravdess(range(1, 2))))


# validation


@pytest.mark.parametrize("speakers", [3, 4, 6, 24])
def test_validation_is_about_a_fifth_of_the_speakers_and_another_in_every_fold(
    speakers: int,
) -> None:
    columns = corpus(speakers=speakers)
    folds = make_folds("loso", Clips.of(columns))
    chosen = [{columns["speaker"][row] for row in fold.validation} for fold in folds]
    if speakers == 3:  # two to train on: validation would leave a single voice
        assert chosen == [set()] * 3
        return
    assert {len(one) for one in chosen} == {max(1, round((speakers - 1) / 5))}
    assert len(set(map(frozenset, chosen))) > 1
    trained = [{columns["speaker"][row] for row in fold.train} for fold in folds]
    assert set.union(*trained) == set(columns["speaker"])
    for fold in folds:
        assert {columns["label"][row] for row in fold.validation} == set(CLASSES)


def test_validation_covers_the_classes_where_speakers_lack_some() -> None:
    """As in EmoV-DB: nobody says everything, and no class is taken away altogether."""
    said = {"a": ("angry",), "b": ("angry",), "c": ("sad",), "d": ("sad",), "e": ("happy",)}
    columns = together([speaker(who, 20, classes=classes) for who, classes in said.items()])
    for fold in make_folds("loso", Clips.of(columns)):
        validated = {columns["speaker"][row] for row in fold.validation}
        assert len(validated) >= 1
        assert "c:e" not in validated  # the only one who is happy


def test_a_speaker_who_talks_most_is_rather_trained_on() -> None:
    """As MELD's leads among many who say one line."""
    sizes = {"lead": 300} | {f"{n:02d}": 10 for n in range(20)}
    columns = of_speakers(sizes)
    for fold in make_folds("loso", Clips.of(columns)):
        if fold.name != "c:lead":
            assert "c:lead" in {columns["speaker"][row] for row in fold.train}
            assert 0.1 < len(fold.validation) / (500 - len(fold.test)) < 0.3


def test_speakers_nobody_knows_are_never_validated_on() -> None:
    columns = of_speakers({None: 400, "a": 12, "b": 12, "c": 12, "d": 12})
    for fold in make_folds("loso", Clips.of(columns)):
        assert {columns["speaker"][row] for row in fold.validation} - {None}
        assert len({columns["speaker"][row] for row in fold.train} - {None}) == 2


def test_union_validates_on_every_corpus_that_has_voices_to_spare() -> None:
    columns = together([corpus("a", 24), corpus("b", 24), corpus("c", 2)])
    for fold in make_folds("loso", Clips.of(columns), "union"):
        validated = Counter(columns["corpus"][row] for row in fold.validation)
        assert validated["a"] > 0 and validated["b"] > 0
        assert validated["c"] == 0  # half of its voices


def test_folds_have_no_rows_in_common() -> None:
    for fold in make_folds("loso", Clips.of(corpus(speakers=6))):
        rows = np.concatenate([fold.train, fold.validation, fold.test])
        assert sorted(rows) == list(range(6 * 24))
