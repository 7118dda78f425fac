"""Features: encoders against each other and classical ones; which layer, pooling and window.

A part asks only what the study's stores can answer: encoders where there are several, layers and
pooling of those that have them, the window where an encoder was embedded under both.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ser_generalize.benchmark.part import Part, Runs, Study
from ser_generalize.benchmark.rows import (
    clear_first,
    difference_rows,
    families,
    macro,
    rank_rows,
    score_rows,
    verdict,
)
from ser_generalize.benchmark.sections import Figure, Row, Section, Table
from ser_generalize.cell import Cell
from ser_generalize.degradation import NONE
from ser_generalize.embeddings import StoreKey, read_manifest
from ser_generalize.heads import BOTH, POOLINGS
from ser_generalize.predictions import Predictions

NAME = "features"
QUESTION = "Which features tell emotions of new speakers best: encoder, layer, pooling, window?"
SHORT, STOCK = "short", "30s"
CAPTION = "Leave one speaker out within every corpus; the same head on every kind of features."
CLASSICAL = ("eGeMAPSv02", "logmel")  # what to compare an encoder with

Stores = Mapping[Path, StoreKey]
Named = Mapping[str, Predictions]  # by the setting that tells them apart


def cells(study: Study) -> list[Cell]:
    """Return a cell for every store, every layer, and each statistic alone."""
    stores = clean_stores(study)
    asked = [store_cell(study, store) for store in stores]
    for store, key in _deep(stores).items():
        asked += _layer_cells(study, store, key).values()
        asked += _pooling_cells(study, store).values()
    return list(dict.fromkeys(asked))


def sections(study: Study, runs: Runs, _: Path) -> Sequence[Section]:
    """Return what the finished cells say of encoders, layers, pooling and windows."""
    stores = clean_stores(study)
    made = [_encoders(study, stores, runs), *_layers(study, stores, runs)]
    made += [*_poolings(study, stores, runs), *_windows(study, stores, runs)]
    return [section for section in made if section]


def clean_stores(study: Study) -> dict[Path, StoreKey]:
    """Return the stores of recordings as they are, the study's first one first."""
    keys = {store: read_manifest(store)[0] for store in study.embeddings}
    return {store: key for store, key in keys.items() if key.degradation == NONE}


def store_cell(study: Study, store: Path) -> Cell:
    """Return the cell by which features are compared."""
    return study.cell(embeddings=store)


def _deep(stores: Stores) -> dict[Path, StoreKey]:
    """Return a store of every encoder that has layers; where there are two windows, the first."""
    found = dict[str, Path]()
    for store, key in stores.items():
        if len(key.layers) > 1:
            found.setdefault(key.revision, store)
    return {store: stores[store] for store in found.values()}


def _layer_cells(study: Study, store: Path, key: StoreKey) -> dict[str, Cell]:
    """Return a cell for every layer alone, by its setting."""
    return {f"layer={layer}": study.cell(embeddings=store, layers=(layer,)) for layer in key.layers}


def _pooling_cells(study: Study, store: Path) -> dict[str, Cell]:
    return {
        f"pooling={name}": study.cell(embeddings=store, pooling=name)
        for name in POOLINGS
        if name != BOTH
    }


def _encoders(study: Study, stores: Stores, runs: Runs) -> Section:
    """Compare every store with the study's first."""
    found = {store: runs[cell] for store in stores if (cell := store_cell(study, store)) in runs}
    known = {key.encoder for key in stores.values()}
    notes = [
        f"{name} is not among the stores: make one with `ser-generalize embed --encoder {name}`"
        for name in CLASSICAL
        if name not in known
    ]
    title = "Encoders and classical features"
    if len(found) < 2:
        notes.append("fewer than two stores are finished: nothing to compare")
        return Section(NAME, title, QUESTION, notes=notes)
    scores = [
        row for run in found.values() for row in score_rows(NAME, "encoders", run, pooled=True)
    ]
    first, *others = found.values()
    rows = [
        row for run in others for row in difference_rows(NAME, "encoders-minus-first", first, run)
    ]
    differences = families(rows)
    shown = ("corpus", "encoder", "window")
    against = _called(first)
    tables = [
        Table("encoders", "UAR by features", CAPTION, scores, shown),
        Table("encoders-minus-first", f"Minus {against}",
              "Paired by clip, tested over speakers; p by Holm.", differences, shown),
    ]  # fmt: skip
    figures = [
        Figure("encoders", "intervals", "UAR by features", CAPTION, scores, series="encoder")
    ]
    ranks, critical = rank_rows(
        [row for row in scores if row.window == SHORT], "encoder", "encoder-ranks"
    )
    if ranks:
        caption = "1 is best; methods closer than the critical difference cannot be told apart."
        figures.append(Figure("encoder-ranks", "ranks", "Mean ranks of features over corpora",
                              caption, ranks, series="encoder", limit=critical))  # fmt: skip
    findings = [
        verdict(row, _named(row.encoder, row.window), against) for row in macro(differences)
    ]
    return Section(NAME, title, QUESTION, clear_first(findings), tables, figures, notes)


def _layers(study: Study, stores: Stores, runs: Runs) -> Iterator[Section]:
    """Yield the curve over the layers of every encoder, each against its last layer."""
    for store, key in _deep(stores).items():
        curve = _finished(_layer_cells(study, store, key), runs)
        title = f"Layers of {key.encoder}"
        if len(curve) < 2:
            yield Section(NAME, title, QUESTION, notes=["its layers are not finished"])
            continue
        name = f"layers-{key.revision[:8]}"
        rows = _scores(name, curve)
        last, whole = list(curve)[-1], runs.get(store_cell(study, store))
        everything = {"all layers": whole} if whole else {}
        differences = _minus(f"{name}-minus-last", last, {**curve, **everything})
        tables = [
            Table(name, f"UAR by layer of {key.encoder}", f"{CAPTION} One layer at a time.",
                  [*rows, *_scores(name, everything)], ("corpus", "setting")),
            Table(f"{name}-minus-last", f"Minus the last layer of {key.encoder}",
                  "Paired by clip, tested over speakers; p by Holm.", differences,
                  ("corpus", "setting")),
        ]  # fmt: skip
        figure = Figure(
            name, "curve", f"UAR by layer of {key.encoder}",
            "Layer 0 is the input of the first block; the band is the 95 % interval over speakers.",
            [row for row in rows if row.setting in curve], x="setting", series="corpus",
        )  # fmt: skip
        findings = list(_best(rows, differences, last))
        yield Section(NAME, title, QUESTION, findings, tables, [figure])


def _poolings(study: Study, stores: Stores, runs: Runs) -> Iterator[Section]:
    """Yield what the mean or the deviation over frames alone are worth, of every encoder."""
    for store, key in _deep(stores).items():
        alone = _finished(_pooling_cells(study, store), runs)
        both = runs.get(store_cell(study, store))
        if both is None or not alone:
            continue
        name, every = f"pooling-{key.revision[:8]}", {f"pooling={BOTH}": both, **alone}
        differences = _minus(f"{name}-minus-both", f"pooling={BOTH}", every)
        yield Section(
            NAME,
            f"Pooling of {key.encoder}",
            QUESTION,
            clear_first(
                [
                    verdict(row, f"{row.setting.partition('=')[2]} alone", "mean and std together")
                    for row in macro(differences)
                ]
            ),
            [
                Table(name, f"UAR by pooling of {key.encoder}", CAPTION, _scores(name, every),
                      ("corpus", "setting")),
                Table(f"{name}-minus-both", "Minus mean and std together",
                      "Paired by clip, tested over speakers; p by Holm.", differences,
                      ("corpus", "setting")),
            ],
        )  # fmt: skip


def _windows(study: Study, stores: Stores, runs: Runs) -> Iterator[Section]:
    """Yield the window as long as the clip against the stock one, of encoders that have both."""
    for short, key in stores.items():
        for stock, other in stores.items():
            same = (key.revision, key.layers) == (other.revision, other.layers)
            if not same or (key.window, other.window) != (SHORT, STOCK):
                continue
            pair = [runs.get(store_cell(study, store)) for store in (stock, short)]
            if pair[0] is None or pair[1] is None:
                continue
            name = f"window-{key.revision[:8]}"
            rows = families(difference_rows(NAME, name, pair[0], pair[1], pooled=True))
            table = Table(name, f"Short minus 30-s windows of {key.encoder}",
                          "Short: as long as the clip. Paired by clip, tested over speakers.",
                          rows, ("corpus",))  # fmt: skip
            findings = [verdict(row, "short windows", "30-s windows") for row in macro(rows)]
            yield Section(NAME, f"Window of {key.encoder}", QUESTION, findings, [table])


def _finished(asked: Mapping[str, Cell], runs: Runs) -> dict[str, Predictions]:
    return {setting: runs[cell] for setting, cell in asked.items() if cell in runs}


def _scores(table: str, found: Named) -> list[Row]:
    return [
        row
        for setting, run in found.items()
        for row in score_rows(NAME, table, run, setting=setting)
    ]


def _minus(table: str, base: str, found: Named) -> list[Row]:
    """Return every run minus that of the setting `base`."""
    rows = [
        row
        for setting, run in found.items()
        if setting != base
        for row in difference_rows(NAME, table, found[base], run, setting=setting)
    ]
    return families(rows)


def _best(scores: Sequence[Row], differences: Sequence[Row], last: str) -> Iterator[str]:
    """Yield what the best layer and all layers are worth beside the last; best by its own score."""
    best = max(macro(scores), key=lambda row: row.value)
    for row in macro(differences):
        if row.setting == best.setting:
            name = f"{row.setting.replace('=', ' ')}, the best of them,"
            yield f"{verdict(row, name, 'the last layer')}; the best is chosen on the same clips"
        elif row.setting == "all layers":
            yield verdict(row, "all layers together", "the last layer")
    if best.setting == last:
        yield "no layer beats the last one"


def _called(run: Predictions) -> str:
    return _named(run.about.encoder, run.about.window)


def _named(encoder: str, window: str) -> str:
    return encoder if window == SHORT else f"{encoder} ({window} windows)"


FEATURES = Part(NAME, QUESTION, cells, sections)
