"""Test parts: how a protocol divides the clips of one corpus into what is tested together."""

import warnings
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ser_generalize.errors import listing
from ser_generalize.protocols.clips import Clips, Column, IndivisibleError, Mask, Rows

# A speaker with fewer clips than this shares a fold with others: a fold of one clip costs as much
# training as any other and says nothing (MELD has 72 speakers with a single clip).
FOLD_CLIPS = 10
FOLDS = 5  # of protocols that do not leave out one of something
SEED = 0
TEST_SPLIT = "test"
VALIDATION_SPLITS = ("dev", "evaluation", "validation")  # MELD's, ESD's and the usual name

# The RAVDESS actors that EmoBox (Interspeech 2024) tests together.
EMOBOX_RAVDESS = (
    ("01", "11", "20", "21"),
    ("04", "10", "12", "14"),
    ("08", "09", "19", "23"),
    ("03", "05", "07", "24"),
    ("02", "15", "16", "18"),
    ("06", "13", "17", "22"),
)

Part = tuple[str, Rows]  # the name of a fold, its test rows
# Takes the rows of one corpus that may be tested.
Divide = Callable[[Clips, Rows], Iterable[Part]]


def by_speaker(clips: Clips, here: Rows) -> list[Part]:
    """One speaker each; speakers with fewer than FOLD_CLIPS clips together."""
    return _packed(_one_each(clips.speaker, here))


def by_session(clips: Clips, here: Rows) -> list[Part]:
    """One session each; sessions with fewer than FOLD_CLIPS clips together."""
    return _packed(_one_each(clips.session, here))


def by_corpus(clips: Clips, here: Rows) -> list[Part]:
    """The corpus as a whole."""
    return [(_corpus(clips, here), here)]


def by_some_speakers(clips: Clips, here: Rows) -> list[Part]:
    """FOLDS groups of speakers, the classes spread evenly over them."""
    return _numbered(clips, here, _groups(clips, here, clips.speaker))


def by_speakers_and_texts(clips: Clips, here: Rows) -> list[Part]:
    """Every group of speakers with every group of texts."""
    speakers, texts = (_groups(clips, here, column) for column in (clips.speaker, clips.text_id))
    groups = texts.max() + 1
    return _numbered(clips, here, speakers * groups + texts)


def by_clip(clips: Clips, here: Rows) -> list[Part]:
    """FOLDS random groups of clips, whoever speaks them."""
    return _numbered(clips, here, random_groups(clips, here))


def by_official_split(clips: Clips, here: Rows) -> list[Part]:
    """What the corpus's authors call its test part."""
    test = here[in_splits(clips, here, (TEST_SPLIT,))]
    if not len(test):
        raise IndivisibleError(
            f"protocol official: corpus {_corpus(clips, here)} has no clip in the test part of its "
            "own split; leave it out with --corpora"
        )
    return [(f"{_corpus(clips, here)} {TEST_SPLIT}", test)]


def by_emobox(clips: Clips, here: Rows) -> list[Part]:
    """The folds of EmoBox, with those of their speakers who are there."""
    corpus = _corpus(clips, here)
    if corpus == "ravdess":
        speakers = [clips.speaker.names[code] for code in clips.speaker.codes[here]]
        actors = np.array([name.rpartition(":")[2] for name in speakers])
        tested = [here[np.isin(actors, actors_of)] for actors_of in EMOBOX_RAVDESS]
        return [(f"{corpus} emobox {n}", rows) for n, rows in enumerate(tested, 1) if len(rows)]
    columns = {"iemocap": clips.session, "jl_corpus": clips.speaker, "savee": clips.speaker}
    if corpus not in columns:
        raise IndivisibleError(
            f"protocol emobox has no speaker-disjoint folds for {corpus}, only for "
            f"{listing(sorted([*columns, 'ravdess']))}; choose with --corpora"
        )
    return _one_each(columns[corpus], here)


def in_splits(clips: Clips, rows: Rows, splits: Iterable[str]) -> Mask:
    """Return which of some rows are in one of the splits that the corpus's authors made."""
    column = clips.official_split
    wanted = [code for code, name in enumerate(column.names) if name in splits]
    return np.asarray(np.isin(column.codes[rows], wanted))


def random_groups(clips: Clips, rows: Rows) -> Rows:
    """Return for every row its random group, in [0, FOLDS), the classes spread evenly."""
    from sklearn.model_selection import StratifiedKFold  # takes a second to import

    count = min(FOLDS, len(rows))
    order = np.argsort(clips.clip_id.codes[rows])  # whatever the order of the dataset's rows
    labels = clips.label.codes[rows][order]
    groups = np.arange(len(rows)) % max(count, 1)
    if _can_be_spread(labels, count):
        splits = StratifiedKFold(count, shuffle=True, random_state=SEED).split(labels, labels)
        groups = _numbers(splits, len(rows))
    return groups[np.argsort(order)]


def _groups(clips: Clips, rows: Rows, column: Column) -> Rows:
    """Return for every row the group of its value of a column, the classes spread evenly."""
    from sklearn.model_selection import StratifiedGroupKFold  # takes a second to import

    labels = clips.label.codes[rows]
    values, value = np.unique(column.codes[rows], return_inverse=True)
    count = min(FOLDS, len(values))
    if not _can_be_spread(labels, count):
        return value % max(count, 1)
    return _numbers(StratifiedGroupKFold(count).split(labels, labels, value), len(rows))


def _can_be_spread(labels: Rows, count: int) -> bool:
    """Return whether scikit-learn agrees to: some class needs a clip for every group."""
    return count > 1 and int(np.bincount(labels).max()) >= count


def _numbers(splits: Iterator[tuple[Rows, Rows]], rows: int) -> Rows:
    numbers = np.zeros(rows, dtype=np.int64)
    with warnings.catch_warnings():  # of classes with few clips: the run counts and notes them
        warnings.simplefilter("ignore", UserWarning)
        for number, (_, test) in enumerate(splits):
            numbers[test] = number
    return numbers


def _numbered(clips: Clips, here: Rows, groups: Rows) -> list[Part]:
    """Return the parts of numbered groups, those without a clip left out."""
    numbers = np.unique(groups)
    return [
        (f"{_corpus(clips, here)} {place} of {len(numbers)}", here[groups == number])
        for place, number in enumerate(numbers, 1)
    ]


def _one_each(column: Column, here: Rows) -> list[Part]:
    """Return a part for every known value of a column."""
    codes = column.codes[here]
    return [(column.names[code], here[codes == code]) for code in np.unique(codes) if code >= 0]


def _packed(parts: list[Part]) -> list[Part]:
    """Put parts of fewer than FOLD_CLIPS clips together, unless all would then be one part."""
    packed: list[list[Part]] = [[]]
    for part in parts:
        if len(part[1]) >= FOLD_CLIPS:
            continue
        if sum(len(rows) for _, rows in packed[-1]) >= FOLD_CLIPS:
            packed.append([])
        packed[-1].append(part)
    if len(packed) > 1 and sum(len(rows) for _, rows in packed[-1]) < FOLD_CLIPS:
        left_over = packed.pop()  # too small for a fold of its own
        packed[-1] += left_over
    alone = [part for part in parts if len(part[1]) >= FOLD_CLIPS]
    together = alone + [_joined(group) for group in packed if group]
    return together if len(together) > 1 else parts


def _joined(group: list[Part]) -> Part:
    name = group[0][0]
    rows = np.sort(np.concatenate([rows for _, rows in group]))
    return name if len(group) == 1 else f"{name}+{len(group) - 1}", rows


def _corpus(clips: Clips, here: Rows) -> str:
    return clips.corpus.names[clips.corpus.codes[here[0]]]
