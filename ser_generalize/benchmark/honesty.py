"""Honesty: what other ways of splitting and labelling would have made of the same models."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from ser_generalize.benchmark.part import Part, Runs, Study
from ser_generalize.benchmark.probe import WHOSE, measure_probe, read_probe
from ser_generalize.benchmark.rows import (
    difference_rows,
    families,
    in_words,
    is_clear,
    macro,
    score_rows,
    verdict,
    where,
)
from ser_generalize.benchmark.sections import Figure, Row, Section, Table
from ser_generalize.cell import Cell
from ser_generalize.labels import ACTED, ALTERNATIVES, BURSTS_COUNT, CHOICES, FOUR, VOTES
from ser_generalize.predictions import Predictions, prediction_schema

NAME = "honesty"
QUESTION = "How much of a figure is the split, the sentences, the corpus or the labels?"
LEAK = "What a random split would have claimed"
TEXT = "What it is worth to know the sentences"
PROBE = "How well an embedding tells its corpus"
LABELS = "Acted against perceived labels"
MAPS = "What disputed label mappings change"
VOTED = ("crema_d", "iemocap")  # whose raters' votes are published
WITH_BURSTS = "asvp_esd"  # bursts: laughs and sobs without words
LABEL_SOURCES = {ACTED: "the corpus's own labels", VOTES: "raters' labels"}


def cells(study: Study) -> list[Cell]:
    """Return every way of splitting, of labelling and of mapping, beside the usual one."""
    return [
        *_splits(study).values(),
        *_texts(study).values(),
        *[cell for pair in _labelled(study).values() for cell in pair.values()],
        *_mapped(study).values(),
    ]


def _splits(study: Study) -> dict[str, Cell]:
    return {name: study.cell(protocol=name) for name in ("loso", "random", "within")}


def _texts(study: Study) -> dict[str, Cell]:
    """Return a cell per corpus: some name no texts, and those must not stop the others."""
    return {name: study.cell(protocol="text", corpora=(name,)) for name in study.corpora}


def _labelled(study: Study) -> dict[str, dict[str, Cell]]:
    return {
        corpus: {
            source: study.cell(corpora=(corpus,), labels_from=source) for source in (ACTED, VOTES)
        }
        for corpus in VOTED
        if corpus in study.corpora
    }


def _mapped(study: Study) -> dict[str, Cell]:
    """Return a cell per alternative that changes what is in the label set of a corpus here."""
    corpus_of = {
        choice.name: choice.corpus
        for choice in CHOICES
        if {choice.counts_as, choice.alternative} & set(FOUR)
    } | {BURSTS_COUNT: WITH_BURSTS}
    return {
        name: study.cell(corpora=(corpus_of[name],), alternatives=(name,))
        for name in ALTERNATIVES
        if corpus_of.get(name) in study.corpora
    }


def sections(study: Study, runs: Runs, folder: Path) -> Sequence[Section]:
    """Return a section for everything that a figure may owe to something else than emotion."""
    splits = {name: runs[cell] for name, cell in _splits(study).items() if cell in runs}
    texts = {name: runs[cell] for name, cell in _texts(study).items() if cell in runs}
    labelled = {
        corpus: {source: runs[cell] for source, cell in pair.items()}
        for corpus, pair in _labelled(study).items()
        if all(cell in runs for cell in pair.values())
    }
    mapped = {name: runs[cell] for name, cell in _mapped(study).items() if cell in runs}
    return [
        _leak(splits),
        _text(splits, texts),
        _probe(study, read_probe(study, folder)),
        _labels(labelled),
        _maps(splits.get("loso"), mapped),
    ]


def _leak(splits: Mapping[str, Predictions]) -> Section:
    """Return random folds minus leave-one-speaker-out: what not to have to know new voices is."""
    if "loso" not in splits or "random" not in splits:
        return _nothing(LEAK, "the cells under loso and random are not both finished")
    rows = families(difference_rows(NAME, "leak", splits["loso"], splits["random"], pooled=True))
    scores = score_rows(NAME, "random", splits["random"])
    caption = "Random folds over clips minus leave one speaker out, paired by clip."
    findings = [
        f"a random split would have claimed {in_words(row)} points of UAR too many {where(row)}"
        for row in rows
        if is_clear(row) and row.value > 0
    ] or [verdict(row, "a random split", "leave one speaker out") for row in macro(rows)]
    tables = [
        Table("leak", "Random split minus leave one speaker out", caption, rows),
        Table("random", "What a random split says",
              "Test speakers are in the training part: no result to report.", scores),
    ]  # fmt: skip
    figure = Figure("leak", "intervals", LEAK, caption, rows, series="protocol")
    return Section(NAME, LEAK, QUESTION, findings, tables, [figure])


def _text(splits: Mapping[str, Predictions], texts: Mapping[str, Predictions]) -> Section:
    if "within" not in splits or not texts:
        return _nothing(TEXT, "no cell under text, or that under within, is finished")
    runs = list(texts.values())
    schema = prediction_schema(runs[0].about)
    table = pa.concat_tables([run.table.cast(schema) for run in runs])
    rows = families(
        difference_rows(NAME, "text-leak", Predictions(runs[0].about, table), splits["within"])
    )
    caption = (
        "New speakers with known sentences minus new speakers with new sentences, paired by clip. "
        "The latter also train on fewer clips, which is part of the difference."
    )
    findings = [verdict(row, "known sentences", "new ones") for row in macro(rows)]
    figure = Figure("text-leak", "intervals", TEXT, caption, rows, series="protocol")
    absent = sorted(set(splits["within"].column("corpus")) - set(texts))
    notes = [f"no folds without known sentences: {', '.join(absent)}"] if absent else []
    table_of_rows = Table("text-leak", TEXT, caption, rows)
    return Section(NAME, TEXT, QUESTION, findings, [table_of_rows], [figure], notes)


def _probe(study: Study, probe: Predictions | None) -> Section:
    if len(study.corpora) < 2:
        return _nothing(PROBE, "a single corpus cannot be told from others")
    if probe is None:
        return _nothing(PROBE, "the probe has not been run yet")
    (row,) = score_rows(NAME, "probe", probe, setting=WHOSE)
    recalls = _recalls(probe)
    caption = (
        "UAR over corpora of a logistic regression on all layers, tested on speakers that it never "
        f"heard; {probe.about.notes[0]}."
    )
    findings = [
        f"the features tell {len(probe.about.classes)} corpora apart by new speakers with a UAR of "
        f"{in_words(row)} where guessing gives {100 / len(probe.about.classes):.0f}: a head can "
        "lean on the corpus instead of the emotion"
    ]
    tables = [
        Table("probe", PROBE, caption, [row]),
        Table("probe-corpora", "How often each corpus is recognised", caption,
              [replace(row, table="probe-corpora", corpus=name, value=value, low=None, high=None,
                       metric="recall", clips=clips, note="recall of one class: no interval")
               for name, value, clips in recalls]),
    ]  # fmt: skip
    return Section(NAME, PROBE, QUESTION, findings, tables)


def _recalls(probe: Predictions) -> Iterator[tuple[str, float, int]]:
    labels, said = probe.labels(), probe.probabilities().argmax(1)
    for number, name in enumerate(probe.about.classes):
        here = labels == number
        yield name, float((said[here] == number).mean()), int(here.sum())


def _labels(labelled: Mapping[str, Mapping[str, Predictions]]) -> Section:
    """Return models trained on either labels, scored on either, on the clips that have both."""
    if not labelled:
        corpora = " and ".join(VOTED)
        return _nothing(LABELS, f"only {corpora} have raters' votes, and neither is finished here")
    scores, differences = list[Row](), list[Row]()
    for pair in labelled.values():
        for scored in (ACTED, VOTES):
            trained = {source: _scored_on(run, pair[scored]) for source, run in pair.items()}
            for source, run in trained.items():
                setting = f"trained on {LABEL_SOURCES[source]}, scored on {LABEL_SOURCES[scored]}"
                scores += score_rows(NAME, "labels", run, setting=setting)
            differences += difference_rows(
                NAME, "labels-minus", trained[ACTED], trained[VOTES],
                setting=f"scored on {LABEL_SOURCES[scored]}",
            )  # fmt: skip
    differences = families(differences)
    findings = [
        verdict(row, "training on raters' labels", "on the corpus's own") + f", {row.setting}"
        for row in differences
    ]
    findings += [f"{corpus}: {_agreement(pair)}" for corpus, pair in labelled.items()]
    shown = ("corpus", "setting")
    tables = [
        Table("labels", "UAR by what is trained and scored on", "On the clips that have both.",
              scores, shown),
        Table("labels-minus", "Trained on raters' labels minus on the corpus's own",
              "Paired by clip; p by Holm.", differences, shown),
    ]  # fmt: skip
    return Section(NAME, LABELS, QUESTION, findings, tables)


def _scored_on(run: Predictions, other: Predictions) -> Predictions:
    """Return a run on the clips that another has too, with the other's labels as the true ones."""
    truth = dict(zip(other.column("clip_id"), other.column("label"), strict=True))
    table = run.table.filter(pa.array([clip in truth for clip in run.column("clip_id")]))
    labels = [truth[clip] for clip in table.column("clip_id").to_pylist()]
    index = table.column_names.index("label")
    table = table.set_column(index, "label", pa.array(labels))
    return Predictions(run.about, table)


def _agreement(pair: Mapping[str, Predictions]) -> str:
    acted, votes = (
        dict(zip(pair[source].column("clip_id"), pair[source].column("label"), strict=True))
        for source in (ACTED, VOTES)
    )
    shared = acted.keys() & votes.keys()
    same = np.mean([acted[clip] == votes[clip] for clip in shared]) if shared else np.nan
    return f"of {len(shared):,} clips with both labels {100 * same:.1f} % have the same"


def _maps(usual: Predictions | None, mapped: Mapping[str, Predictions]) -> Section:
    if usual is None or not mapped:
        return _nothing(
            MAPS, "no corpus here has a disputed mapping, or its cells are not finished"
        )
    scores, rows = list[Row](), list[Row]()
    for name, run in mapped.items():
        scores += score_rows(NAME, "maps", run, setting=name)
        rows += difference_rows(NAME, "maps-minus", usual, run, setting=name)
    rows = families(rows)
    shown = ("corpus", "setting")
    tables = [
        Table("maps", "UAR under other label maps", "On all clips that a map lets in.", scores,
              shown),
        Table("maps-minus", "Minus the usual map", "On the clips that both let in, paired.", rows,
              shown),
    ]  # fmt: skip
    findings = [verdict(row, row.setting, "the usual map") for row in rows]
    return Section(NAME, MAPS, QUESTION, findings, tables)


def _nothing(title: str, why: str) -> Section:
    return Section(NAME, title, QUESTION, notes=[why])


def measure(study: Study, folder: Path) -> None:
    """Run the corpus-identity probe."""
    measure_probe(study, folder)


HONESTY = Part(NAME, QUESTION, cells, sections, measure)
