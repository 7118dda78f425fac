"""The folds of a protocol over some clips."""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from ser_generalize.errors import listing, one_of
from ser_generalize.protocols.clips import Clips, IndivisibleError, Mask, Rows
from ser_generalize.protocols.fold import NOUNS, Fold
from ser_generalize.protocols.protocol import EACH, MATCHED, PROTOCOLS, Protocol


def make_folds(name: str, clips: Clips, train_on: str | None = None) -> list[Fold]:
    """Return the folds of a protocol, each proved to keep what the protocol promises.

    With `train_on` "each" a fold trains on the test clips' own corpus, or under `cross` on every
    other corpus by itself; with "union" on all of them; with "matched" on as many clips as "each"
    has, drawn from all of them. None is the protocol's default. The order
    of the rows does not matter. Raises InputError for a name that means nothing and for a fold that
    leaks, IndivisibleError for clips over which the protocol has no folds.
    """
    protocol = PROTOCOLS[one_of("protocol", name, PROTOCOLS)]
    what = f"--train-on for protocol {name}"
    train_on = one_of(what, train_on or protocol.train_on[0], protocol.train_on)
    corpora = clips.corpus.names
    if protocol.elsewhere and len(corpora) < 2:
        raise IndivisibleError(
            f"protocol {name} needs two corpora, one to train on and one to test, and there is "
            f"only {listing(corpora)}; name more with --corpora, or choose another protocol"
        )
    folds = [
        fold
        for corpus in range(len(corpora))
        for fold in _folds(name, clips, clips.corpus.codes == corpus, train_on)
    ]
    for fold in folds:
        fold.check(clips, protocol.apart)
    return folds


def _folds(name: str, clips: Clips, here: Mask, train_on: str) -> Iterator[Fold]:
    """Yield the folds that test one corpus."""
    protocol = PROTOCOLS[name]
    for part, test in protocol.divide(clips, _testable(name, clips, here)):
        near = _like(clips, test, protocol, here)
        for origin, pool in _pools(clips, protocol, here, train_on):
            train = np.flatnonzero(pool & ~near)
            if train_on == MATCHED:
                train = _drawn(clips, train, int(here[train].sum()), part)
            fold = _with_validation(clips, protocol, Fold(f"{origin}{part}", train, test))
            if not _known(clips, protocol.needs)[fold.train].any():
                raise IndivisibleError(_nothing_to_train_on(name, clips, part, test))
            yield fold


def _testable(name: str, clips: Clips, here: Mask) -> Rows:
    """Return the clips of a corpus that have all that the protocol needs to test them."""
    needs = PROTOCOLS[name].needs
    testable = np.flatnonzero(here & _known(clips, needs))
    if not len(testable):
        lacking = [column for column in needs if not (here & _known(clips, [column])).any()]
        nouns = " and ".join(NOUNS[column] for column in lacking or needs)
        raise IndivisibleError(
            f"protocol {name} divides clips by {nouns}, and corpus {_corpus(clips, here)} names "
            f"none among its {here.sum()} clips; leave it out with --corpora, or choose another "
            "protocol"
        )
    return testable


def _pools(
    clips: Clips, protocol: Protocol, here: Mask, train_on: str
) -> Iterator[tuple[str, Mask]]:
    """Yield from which clips to train where those `here` are tested, and a prefix for the fold."""
    usable = _known(clips, [column for column in protocol.needs if column != "speaker"])
    if train_on != EACH:
        yield "", usable
    elif not protocol.elsewhere:
        yield "", usable & here
    else:
        for corpus, origin in enumerate(clips.corpus.names):
            there = clips.corpus.codes == corpus
            if not (there & here).any():
                yield f"{origin}>", usable & there


def _drawn(clips: Clips, rows: Rows, count: int, fold: str) -> Rows:
    """Return some rows at random, the same ones for a fold whatever the order of the clips."""
    ordered = rows[np.argsort(clips.clip_id.codes[rows])]
    generator = np.random.default_rng(zlib.crc32(fold.encode()))
    return np.sort(generator.choice(ordered, count, replace=False))


def _like(clips: Clips, test: Rows, protocol: Protocol, here: Mask) -> Mask:
    """Return the test clips and those of their corpus that may not be trained on beside them.

    Speakers of other corpora, and recordings, are not passed over here: that one of them is on both
    sides is a fault of the dataset, which `Fold.check` reports.
    """
    like = np.zeros(len(clips), dtype=bool)
    like[test] = True
    for column in set(protocol.apart) - {"sha256"}:
        like |= here & getattr(clips, column).like(test)
    return like


def _with_validation(clips: Clips, protocol: Protocol, fold: Fold) -> Fold:
    """Move the validation part out of the training part; copies of training clips are dropped."""
    moved = protocol.validate(clips, fold.train, fold.name)
    train = fold.train[~np.isin(fold.train, moved, assume_unique=True)]
    copies = clips.sha256.like(train)[moved]
    return Fold(fold.name, train, fold.test, moved[~copies])


def _known(clips: Clips, columns: Sequence[str]) -> Mask:
    known = np.ones(len(clips), dtype=bool)
    for column in columns:
        known &= getattr(clips, column).known
    return known


def _nothing_to_train_on(name: str, clips: Clips, part: str, test: Rows) -> str:
    corpus = clips.corpus.codes == clips.corpus.codes[test[0]]
    others = [f"another {NOUNS[column]}" for column in PROTOCOLS[name].apart if column != "sha256"]
    return (
        f"corpus {_corpus(clips, corpus)} leaves nothing to train on when {part} is tested: among "
        f"its {corpus.sum()} clips there is none of {' and '.join(others) or 'another part'}, as "
        f"protocol {name} wants; leave the corpus out with --corpora"
    )


def _corpus(clips: Clips, here: Mask) -> str:
    return clips.corpus.names[int(clips.corpus.codes[here.argmax()])]
