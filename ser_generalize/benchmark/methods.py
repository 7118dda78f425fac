"""The methods of a study in words, made from its configuration and from what its rows say."""

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from ser_generalize import __version__
from ser_generalize.benchmark.part import Study
from ser_generalize.benchmark.sections import POOLED, Row
from ser_generalize.benchmark.wording import leaks
from ser_generalize.embeddings import MANIFEST, read_manifest
from ser_generalize.heads import LDA, LOGISTIC
from ser_generalize.hub import is_hub_id
from ser_generalize.labels import LABEL_SETS
from ser_generalize.linear import SHRINKAGE, C
from ser_generalize.protocols import LEAKS, PROTOCOLS
from ser_generalize.significance import TEST_METHOD
from ser_generalize.statistics import MACRO_AVERAGE, METHOD, MINIMUM_SPEAKERS
from ser_generalize.training import Recipe

SAMPLERS = {
    "none": "none: the training part as it is",
    "under": "under: clips of larger classes are left out at random",
    "over": "over: clips of smaller classes are repeated at random",
    "smote": "SMOTE (Chawla et al. 2002)",
    "borderline": "Borderline-SMOTE (Han et al. 2005)",
    "adasyn": "ADASYN (He et al. 2008)",
    "smote-per-corpus": "SMOTE within each corpus",
}


def methods(study: Study, rows: Sequence[Row]) -> list[tuple[str, list[str]]]:
    """Return what was done, as pairs of a heading and its lines, in reading order."""
    found = {name: _values(rows, name) for name in ("encoder", "head", "sampler")}
    adapted = [name for name in _values(rows, "adapt") if name != "none"]
    return [
        ("Scores", list(_scores())),
        ("Intervals", [f"{METHOD}.", *_intervals()]),
        ("Tests", [f"{TEST_METHOD}."]),
        ("Protocols", list(_protocols(rows))),
        ("Label sets", list(_label_sets(rows))),
        ("Encoders", list(_encoders(study)) or found["encoder"]),
        ("Heads", [*map(_head, found["head"]), f"Every fold is trained from {_seeds(study)}."]),
        ("Sampling", [SAMPLERS.get(one, one) for one in found["sampler"]]),
        ("Adaptation", [*adapted, ADAPTED] if adapted else ["none"]),
        ("Version", [f"ser-generalize {__version__}"]),
    ]


ADAPTED = (
    "Adapted results standardise features by unlabelled clips of the test side; they answer "
    "another question than plain ones, and every table names them."
)


def _scores() -> Iterator[str]:
    yield (
        "Unweighted average recall (UAR): the recall of every class that a corpus holds, averaged "
        "with equal weight. Pooled over a corpus's test clips, never averaged over its speakers."
    )
    yield f"“{MACRO_AVERAGE}” is the plain mean over corpora; “{POOLED}” counts all clips alike."
    yield "Chance is one over the number of classes."


def _intervals() -> Iterator[str]:
    yield (
        "They say how a number would vary with other speakers of the same corpora; not with other "
        f"corpora, and not with another training seed. Under {MINIMUM_SPEAKERS} speakers there is "
        "none."
    )


def _protocols(rows: Sequence[Row]) -> Iterator[str]:
    for name in _values(rows, "protocol"):
        known = PROTOCOLS.get(name)
        promise = known.title if known else "unknown to this version"
        leaked = [LEAKS.get(leak, f"not kept apart: {leak}.") for leak in _leaks(rows, name)]
        yield " ".join([f"{name}: {promise}.", *leaked])


def _leaks(rows: Sequence[Row], protocol: str) -> list[str]:
    return list(
        dict.fromkeys(leak for row in rows if row.protocol == protocol for leak in leaks(row))
    )


def _label_sets(rows: Sequence[Row]) -> Iterator[str]:
    for name in _values(rows, "label_set"):
        classes = LABEL_SETS.get(name)
        yield f"{name}: {', '.join(classes)}" if classes else f"{name}: the corpus's own labels"


def _encoders(study: Study) -> Iterator[str]:
    for folder in study.embeddings:
        if (folder / MANIFEST).is_file():
            key, _ = read_manifest(folder)
            layers = f"layers {key.layers[0]} to {key.layers[-1]}"
            margin = f", margin {key.margin:g} s" if key.margin else ""
            yield (
                f"{key.encoder}, revision {key.revision[:12]}, {key.dtype}, frozen; window "
                f"{key.window}{margin}; {', '.join(key.statistics)} over the "
                f"clip's frames of {layers}."
            )


def _head(name: str) -> str:
    """Return how a head is made, with the settings that are its defaults."""
    if name == LOGISTIC:
        return f"{LOGISTIC} regression on all layers side by side, C = {C:g}."
    if name == LDA:
        return (
            "linear discriminant analysis on all layers side by side; the covariance is shrunken "
            f"by {SHRINKAGE:g} towards a sphere, and training speakers who are held out give the "
            "temperature."
        )
    recipe = Recipe()
    return (
        f"{name} hidden units over a learned sum of layers; at most {recipe.epochs} epochs of "
        f"batches of {recipe.batch}, learning rate {recipe.learning_rate:g}, weight decay "
        f"{recipe.weight_decay:g}, label smoothing {recipe.label_smoothing:g}."
    )


def _seeds(study: Study) -> str:
    return f"{study.seeds} seeds" if study.seeds > 1 else "1 seed"


def _values(rows: Sequence[Row], name: str) -> list[str]:
    """Return the distinct values of a field, without the empty one."""
    return [value for value in dict.fromkeys(getattr(row, name) for row in rows) if value]


def tested(rows: Sequence[Row]) -> list[tuple[str, int, int]]:
    """Return every corpus with the most clips and speakers that any score of it is of."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.metric == "uar" and row.corpus not in (MACRO_AVERAGE, POOLED):
            found.setdefault(row.corpus, []).append(row)
    return [
        (name, max(row.clips for row in held), max(row.speakers for row in held))
        for name, held in sorted(found.items())
    ]


def commands(study: Study) -> list[str]:
    """Return the commands that make this report again, without the folders of this machine."""
    stores = " ".join(shlex.quote(_store(folder)) for folder in study.embeddings)
    on_hub = is_hub_id(study.dataset) and not Path(study.dataset).exists()
    dataset = shlex.quote(study.dataset if on_hub else Path(study.dataset).name)
    return [
        f"pip install ser-generalize=={__version__}",
        f"ser-generalize benchmark --dataset {dataset} --embeddings {stores} "
        f"--corpora {' '.join(study.corpora)} --head {study.head} --seeds {study.seeds} "
        "--out study",
    ]


def _store(folder: Path) -> str:
    """Return the id of a store that came from the Hub, of a folder only its own name."""
    cached = re.search(r"datasets--(.+?)--(.+?)/snapshots/", folder.as_posix())
    return "/".join(cached.groups()) if cached else folder.name
