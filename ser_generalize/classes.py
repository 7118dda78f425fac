"""Which class every clip of a dataset counts as, under a label set and whoever says so."""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset

from ser_generalize.errors import InputError, listing
from ser_generalize.labels import (
    EMOTIONS,
    LABEL_SETS,
    LABELS_FROM,
    NATIVE,
    VOTES,
    in_label_set,
    plurality,
)

Labels = list[str | None]  # a class per clip, None: outside the label set
Notes = tuple[str, ...]  # what the reader of a run must know, a line each


def find_classes(
    clips: Dataset, dataset: str, label_set: str, labels_from: str, alternatives: Sequence[str]
) -> tuple[tuple[str, ...], Labels, Notes]:
    """Return the classes of the label set, every clip's class, and notes.

    `alternatives` are the disputed mappings that are decided the other way. Raises InputError,
    naming the `dataset`, where the clips do not have such labels.
    """
    if label_set == NATIVE:
        corpora = sorted(set(clips["corpus"]))
        if len(corpora) > 1:
            raise InputError(
                f"--labels native is for one corpus, not {len(corpora)} ({listing(corpora)}); "
                "add --corpora NAME"
            )
        labels = list(clips["native_label"])
        return tuple(sorted(set(labels) - {None})), labels, ()
    classes = LABEL_SETS[label_set]
    if labels_from == VOTES:
        return classes, *_voted(clips, dataset, classes, alternatives)
    if alternatives:
        emotions = [None if number is None else EMOTIONS[number] for number in clips["emotion"]]
        labels = _mapped(clips, emotions, classes, alternatives)
        return classes, labels, _map_notes(alternatives)
    column = f"label{len(classes)}"
    return classes, [None if label is None else classes[label] for label in clips[column]], ()


def _mapped(
    clips: Dataset,
    emotions: Sequence[str | None],
    classes: tuple[str, ...],
    alternatives: Sequence[str],
) -> Labels:
    """Return the class that every clip's emotion counts as."""
    rows = zip(clips["corpus"], emotions, clips["vocalisation"], strict=True)
    return [in_label_set(*row, classes, alternatives) for row in rows]


def _map_notes(alternatives: Sequence[str]) -> Notes:
    names = listing(sorted(alternatives))
    return (f"label map: {names}",) if names else ()


def _voted(
    clips: Dataset, dataset: str, classes: tuple[str, ...], alternatives: Sequence[str]
) -> tuple[Labels, Notes]:
    """Return the class that the raters of every clip chose, and how many did not choose one."""
    votes = [[(vote["label"], vote["count"]) for vote in given or ()] for given in clips["votes"]]
    _check_voted(dataset, clips["corpus"], votes)
    chosen = [plurality(given) for given in votes]
    labels = _mapped(clips, chosen, classes, alternatives)
    ties = sum(
        emotion is None and bool(given) for emotion, given in zip(chosen, votes, strict=True)
    )
    nobody = sum(not given for given in votes)
    return labels, (
        *_map_notes(alternatives),
        f"labels are {LABELS_FROM[VOTES]}; of {len(votes)} clips {ties} were left out because "
        f"raters tied, and {nobody} because they have no votes",
    )


def _check_voted(dataset: str, corpora: Sequence[str], votes: Sequence[Sequence[Any]]) -> None:
    voted = sorted({corpus for corpus, given in zip(corpora, votes, strict=True) if given})
    silent = sorted(set(corpora) - set(voted))
    if silent:
        instead = f"add --corpora {' '.join(voted)}" if voted else "no corpus asked for has any"
        raise InputError(
            f"--labels-from votes: {dataset} holds no votes of raters for {listing(silent)}; "
            f"{instead}, or use --labels-from acted"
        )
