"""Every protocol, whatever the corpora look like: what it promises, proved apart from its code."""

from itertools import combinations
from random import Random

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from make_clips import (
    CLASSES,
    Columns,
    corpus,
    named,
    odd_corpora,
    reordered,
    shuffled_rows,
    speaker,
    together,
)

from ser_generalize.errors import InputError
from ser_generalize.protocols import (
    LEAKS,
    PROTOCOLS,
    Clips,
    Fold,
    IndivisibleError,
    make_folds,
)

SETTINGS = settings(deadline=None, derandomize=True, max_examples=30)
# What no test clip shares with a training or a validation clip, as the documentation says.
PROMISED = {
    "loso": ("speaker", "sha256"),
    "session": ("speaker", "session", "sha256"),
    "loco": ("corpus", "speaker", "sha256"),
    "cross": ("corpus", "speaker", "sha256"),
    "within": ("speaker", "sha256"),
    "official": ("sha256",),
    "emobox": ("speaker", "sha256"),
    "text": ("speaker", "text_id", "sha256"),
    "random": ("sha256",),
}
# What a clip must have to be tested.
TESTED = {
    "loso": ("speaker",),
    "session": ("speaker", "session"),
    "loco": (),
    "cross": (),
    "within": ("speaker",),
    "emobox": ("speaker",),
    "text": ("speaker", "text_id"),
    "random": (),
}
WAYS = [(name, train_on) for name in PROMISED for train_on in PROTOCOLS[name].train_on]
every_way = pytest.mark.parametrize(("name", "train_on"), WAYS, ids=map("-".join, WAYS))


def values(columns: Columns, column: str, rows: np.ndarray) -> set[str | None]:
    return {columns[column][row] for row in rows}


def divided(columns: Columns, name: str, train_on: str) -> list[Fold]:
    """Return the folds, none where the clips cannot be divided or a recording would leak."""
    try:
        return make_folds(name, Clips.of(columns), train_on)
    except InputError as error:
        line = str(error)
        assert "\n" not in line and ("--corpora" in line or name == "emobox")
        event(type(error).__name__)
        return []


def for_emobox(columns: Columns) -> Columns:
    """Rename the corpora to some that EmoBox has folds for."""
    names = {"a": "iemocap", "b": "savee", "c": "jl_corpus"}
    return columns | {"corpus": [names[str(name)] for name in columns["corpus"]]}


@every_way
@SETTINGS
@given(columns=odd_corpora())
def test_folds_keep_what_the_protocol_promises(columns: Columns, name: str, train_on: str) -> None:
    columns = for_emobox(columns) if name == "emobox" else columns
    folds = divided(columns, name, train_on)
    for fold in folds:
        nothing_is_shared(columns, name, fold)
        if name not in {"official", "random"}:  # there it is what the authors say, or chance
            validation_leaves_every_class(columns, fold)
    if folds:
        every_clip_is_tested_once(columns, name, folds)


def nothing_is_shared(columns: Columns, name: str, fold: Fold) -> None:
    assert len(fold.train) and len(fold.test)
    for column in PROMISED[name]:
        tested = values(columns, column, fold.test)
        for rows in (fold.train, fold.validation):
            assert not (tested & values(columns, column, rows)) - {None}
    for column in {"speaker", "sha256"} & set(PROMISED[name]):
        both = (values(columns, column, rows) for rows in (fold.train, fold.validation))
        assert not set.intersection(*both) - {None}
    rows = np.concatenate([fold.train, fold.validation, fold.test])
    assert len(set(rows)) == len(rows)


def validation_leaves_every_class(columns: Columns, fold: Fold) -> None:
    kinds = list(zip(columns["corpus"], columns["label"], strict=True))
    assert {kinds[row] for row in fold.validation} <= {kinds[row] for row in fold.train}
    assert None not in values(columns, "speaker", fold.validation)
    if len(fold.validation):
        assert len(values(columns, "speaker", fold.train) - {None}) >= 2


def every_clip_is_tested_once(columns: Columns, name: str, folds: list[Fold]) -> None:
    assert len({fold.name for fold in folds}) == len(folds)
    rows = range(len(columns["clip_id"]))
    if name == "official":
        able = [row for row in rows if columns["official_split"][row] == "test"]
    else:
        able = [row for row in rows if all(columns[need][row] for need in TESTED[name])]
    if name == "emobox":  # of IEMOCAP it leaves out sessions
        session = dict(zip(rows, columns["session"], strict=True))
        able = [row for row in able if session[row] or columns["corpus"][row] != "iemocap"]
    times = np.bincount(np.concatenate([fold.test for fold in folds]), minlength=len(rows))
    others = len(set(columns["corpus"])) - 1
    assert set(times[able]) == {others if name == "cross" else 1}
    assert times.sum() == times[able].sum()


@every_way
@SETTINGS
@given(columns=odd_corpora(), randoms=st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(
    columns: Columns, name: str, train_on: str, randoms: Random
) -> None:
    columns = for_emobox(columns) if name == "emobox" else columns
    shuffled = reordered(columns, shuffled_rows(columns, randoms))
    first = named(columns, divided(columns, name, train_on))
    second = named(shuffled, divided(shuffled, name, train_on))
    assert list(first) == list(second)
    assert first == second


@every_way
def test_complete_corpora_are_divided_under_every_protocol(name: str, train_on: str) -> None:
    names = ("iemocap", "savee") if name == "emobox" else ("a", "b")
    columns = together([corpus(name, speakers=6) for name in names])
    folds = make_folds(name, Clips.of(columns), train_on)
    assert all(len(fold.validation) for fold in folds)
    for fold in folds:
        assert values(columns, "label", fold.train) == set(CLASSES)


@pytest.mark.parametrize("name", ["loco", "cross"])
def test_one_corpus_is_too_few_to_train_elsewhere(name: str) -> None:
    with pytest.raises(
        IndivisibleError, match=rf"protocol {name} needs two corpora.* only c; name"
    ):
        make_folds(name, Clips.of(corpus()))


def test_loco_trains_on_all_others_and_cross_on_each() -> None:
    columns = together([corpus(name) for name in "abc"])
    loco = make_folds("loco", Clips.of(columns))
    assert [fold.name for fold in loco] == ["a", "b", "c"]
    assert values(columns, "corpus", loco[0].train) == {"b", "c"}
    cross = make_folds("cross", Clips.of(columns))
    assert [fold.name for fold in cross] == ["b>a", "c>a", "a>b", "c>b", "a>c", "b>c"]
    for fold in cross:
        trained, tested = fold.name.split(">")
        rows = np.concatenate([fold.train, fold.validation])
        assert values(columns, "corpus", rows) == {trained}
        assert values(columns, "corpus", fold.test) == {tested}


@pytest.mark.parametrize(("name", "wrong"), [("loco", "each"), ("cross", "union")])
def test_what_such_a_protocol_trains_on_is_not_for_choice(name: str, wrong: str) -> None:
    columns = together([corpus("a"), corpus("b")])
    with pytest.raises(InputError, match=rf"--train-on for protocol {name} '{wrong}'; choose one"):
        make_folds(name, Clips.of(columns), wrong)


def test_names_are_checked() -> None:
    with pytest.raises(InputError, match="unknown protocol 'louso'; choose one of: loso, session"):
        make_folds("louso", Clips.of(corpus()))


@pytest.mark.parametrize("name", ["session", "text", "official"])
def test_a_corpus_without_the_column_is_named(name: str) -> None:
    bare = together([speaker(f"{n}", 12, "bare", texts=(None,), splits=(None,)) for n in range(4)])
    noun = {"session": "session", "text": "text", "official": "official split"}[name]
    line = (
        rf"protocol {name} divides clips by {noun}, and corpus bare names none among its 48 clips"
    )
    with pytest.raises(IndivisibleError, match=line):
        make_folds(name, Clips.of(together([corpus("a"), bare])))


def test_what_a_protocol_leaks_has_a_text_and_is_not_promised() -> None:
    assert set(PROTOCOLS) == set(PROMISED)
    for name, protocol in PROTOCOLS.items():
        assert set(protocol.apart) == set(PROMISED[name])
        assert set(protocol.leaks) <= set(LEAKS)
        assert ("speaker" in protocol.leaks) == ("speaker" not in protocol.apart)


def test_a_random_split_is_as_leaky_as_its_name() -> None:
    """It is there to measure the leak: every test speaker is trained on, and validated on."""
    columns = corpus()
    for fold in make_folds("random", Clips.of(columns)):
        assert values(columns, "speaker", fold.train) == values(columns, "speaker", fold.test)


@SETTINGS
@given(odd_corpora())
def test_a_fold_of_any_parts_is_refused_exactly_if_they_share_something(columns: Columns) -> None:
    """The proof by itself, on folds that no protocol would make."""
    clips, rows = Clips.of(columns), np.arange(len(columns["clip_id"]))
    parts = {"training": rows[::3], "validation": rows[1::3], "test": rows[2::3]}
    fold = Fold("f", parts["training"], parts["test"], parts["validation"])
    for column in ("speaker", "sha256", "session", "text_id", "corpus"):
        shared = {
            pair
            for pair in combinations(parts, 2)
            if set.intersection(*(values(columns, column, parts[part]) for part in pair)) - {None}
        }
        if column not in {"speaker", "sha256"}:
            shared -= {("training", "validation")}
        if shared:
            with pytest.raises(InputError, match="fold f leaks: "):
                fold.check(clips, [column])
        else:
            fold.check(clips, [column])


def test_a_matched_fold_trains_on_as_many_clips_of_all_corpora() -> None:
    columns = together([corpus("a"), corpus("b", speakers=8)])
    each, union, matched = (
        {fold.name: fold for fold in make_folds("loso", Clips.of(columns), way)}
        for way in ("each", "union", "matched")
    )
    for name, fold in matched.items():
        trained, own = (np.concatenate([one.train, one.validation]) for one in (fold, each[name]))
        assert len(trained) == len(own)
        assert set(trained) <= {*union[name].train, *union[name].validation}
        assert {columns["corpus"][row] for row in trained} == {"a", "b"}
