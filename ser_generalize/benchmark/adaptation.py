"""Adaptation: what unlabelled clips of the tested corpus or speaker are worth, beside resampling.

Results that knew unlabelled test clips answer another question than plain ones: they stand in
tables of their own, and meet plain ones only in differences that say so.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from ser_generalize.adapt import CORPUS, SPEAKER
from ser_generalize.benchmark.curve import (
    MIXED,
    NEUTRAL,
    NOT_LINEAR,
    NOTHING,
    Condition,
    measure_curve,
    read_curve,
)
from ser_generalize.benchmark.part import Part, Runs, Study
from ser_generalize.benchmark.rows import (
    clear_first,
    difference_rows,
    effect_rows,
    families,
    in_words,
    is_clear,
    macro,
    score_rows,
    verdict,
)
from ser_generalize.benchmark.sections import Figure, Row, Section, Table
from ser_generalize.cell import Cell
from ser_generalize.heads import parse_head
from ser_generalize.predictions import PLAIN, Predictions
from ser_generalize.protocols import PROTOCOLS

NAME = "adaptation"
QUESTION = (
    "What are a few unlabelled clips of a new corpus or voice worth, and how many does it take?"
)
SAMPLERS = ("none", "smote")
WAYS = (PLAIN, CORPUS, SPEAKER)
OWN = "loso"
HOME_AND_ELSEWHERE = (OWN, "loco")
TITLES = {
    "loso": "new speakers of a known corpus",
    "loco": "a corpus that was never trained on",
    "cross": "from one corpus to another",
}

Way = tuple[str, str]  # sampler, adaptation
Pair = tuple[Predictions, Predictions]
Curve = Mapping[Condition, Predictions]


def cells(study: Study) -> list[Cell]:
    """Return every adaptation with and without SMOTE, within corpora and across them."""
    return [cell for protocol in _protocols(study) for cell in _ways(study, protocol).values()]


def measure(study: Study, folder: Path) -> None:
    """Measure the curves over numbers of known clips; a linear head has none."""
    if parse_head(study.head) is None:
        return
    for protocol in home_and_elsewhere(study):
        measure_curve(study, folder, protocol)


def sections(study: Study, runs: Runs, folder: Path) -> Sequence[Section]:
    """Return what adaptation and SMOTE change, and the curves over numbers of known clips."""
    found = {
        protocol: {way: runs[cell] for way, cell in _ways(study, protocol).items() if cell in runs}
        for protocol in _protocols(study)
    }
    made = [_section(protocol, ways) for protocol, ways in found.items() if ways]
    if parse_head(study.head) is None:
        return [*made, Section(NAME, "How much of a new voice", QUESTION, notes=[NOT_LINEAR])]
    for protocol in home_and_elsewhere(study):
        curve = read_curve(study, folder, protocol)
        made.append(_curve_section(protocol, curve, found[protocol].get(("none", PLAIN))))
    return made


def _protocols(study: Study) -> tuple[str, ...]:
    return tuple(TITLES) if len(study.corpora) > 1 else (OWN,)


def home_and_elsewhere(study: Study) -> tuple[str, ...]:
    """Return the protocols of new speakers and, of several corpora, of a new corpus."""
    return HOME_AND_ELSEWHERE if len(study.corpora) > 1 else (OWN,)


def _ways(study: Study, protocol: str) -> dict[Way, Cell]:
    train_on = PROTOCOLS[protocol].train_on[0]
    return {
        (sampler, adapt): study.cell(
            protocol=protocol, train_on=train_on, sampler=sampler, adapt=adapt
        )
        for adapt, sampler in product(WAYS, SAMPLERS)
    }


def _section(protocol: str, ways: Mapping[Way, Predictions]) -> Section:
    """Return adapted scores, and what every way changes beside no sampling and no adaptation."""
    title = f"Adaptation: {TITLES[protocol]}"
    adapted = [
        row
        for (_, adapt), run in ways.items()
        if adapt != PLAIN
        for row in score_rows(NAME, f"{protocol}-adapted", run, pooled=True)
    ]
    pairs = dict(_pairs(ways))
    table = f"{protocol}-minus-plain"
    rows = [row for pair in pairs.values() for row in difference_rows(NAME, table, *pair)]
    differences = families(rows)
    shown = ("corpus", "adapt", "sampler")
    tables = [
        Table(f"{protocol}-adapted", "UAR, adapted",
              "Features are standardised by unlabelled clips of the tested corpus or speaker, the "
              "scored ones among them: not comparable with plain results.", adapted, shown),
        Table(table, "Minus neither adaptation nor sampling",
              "Paired by clip, tested over speakers; p by Holm.",
              differences, shown),
    ]  # fmt: skip
    if protocol == OWN:
        tables.append(_effects(pairs))
    figure = Figure(
        table, "intervals", f"What adaptation and SMOTE change: {TITLES[protocol]}",
        "UAR minus that without either, with 95 % intervals over speakers.", differences,
        series="run",
    )  # fmt: skip
    findings = clear_first(verdict(row, _called(row), "plain") for row in macro(differences))
    tables = [one for one in tables if one.rows]
    return Section(NAME, title, QUESTION, findings, tables, [figure] if differences else [])


def _pairs(ways: Mapping[Way, Predictions]) -> Iterator[tuple[Way, Pair]]:
    """Yield every way with the runs to compare: without either, and with it."""
    plain = ways.get(("none", PLAIN))
    if plain is not None:
        yield from ((way, (plain, run)) for way, run in ways.items() if run is not plain)


def _effects(pairs: Mapping[Way, Pair]) -> Table:
    rows = [row for pair in pairs.values() for row in effect_rows(NAME, "effects", *pair)]
    return Table(
        "effects",
        "Effect sizes and what could have been found",
        "Over speakers that have all classes: the mean difference over its standard deviation, and "
        "the rank-biserial correlation with Wilcoxon's p; the detectable difference, in UAR, is "
        "the one that a comparison of so many speakers with such a spread finds in 80 %.",
        rows,
        ("corpus", "adapt", "sampler", "metric"),
    )


def _called(row: Row) -> str:
    parts = [row.adapt] if row.adapt != PLAIN else []
    parts += ["SMOTE"] if row.sampler == "smote" else []
    return " with ".join(parts)


def _curve_section(protocol: str, curve: Curve, plain: Predictions | None) -> Section:
    """Return UAR over the number of a speaker's clips that are known, and minus knowing none."""
    title = f"How much of a new voice: {TITLES[protocol]}"
    if not curve:
        missing = f"the curve under {protocol} is not measured yet: run the study again"
        return Section(NAME, title, QUESTION, notes=[missing])
    base = curve[NOTHING] if plain is None else plain
    against = "knowing no clip" if plain is None else "no adaptation"
    name = f"{protocol}-curve"
    rows = _scores(curve, name)
    gains = _gains(base, curve, f"{name}-minus-plain")
    neutral = _neutral(curve, f"{name}-neutral-minus-mixed")
    shown = ("corpus", "adapt", "setting")
    tables = [
        Table(name, "UAR by clips known", "Trained once; the clips known are among those scored.",
              rows, shown),
        Table(f"{name}-minus-plain", f"Minus {against}", "p by Holm.", gains, shown),
        Table(f"{name}-neutral-minus-mixed", "Neutral clips minus as many of any emotion",
              "p by Holm.", neutral, ("corpus", "setting")),
    ]  # fmt: skip
    caption = "Unlabelled clips of every test speaker that standardise the features."
    figure = Figure(name, "curve", title, caption, list(macro(rows)), x="setting", series="adapt")
    findings = [*_enough(gains, against), *_kinds(neutral)]
    return Section(NAME, title, QUESTION, findings, tables, [figure])


def _scores(curve: Curve, table: str) -> list[Row]:
    return [
        row
        for kind in (MIXED, NEUTRAL)
        for condition, run in _of_kind(curve, kind).items()
        for row in score_rows(NAME, table, run, adapt=_by(kind), setting=condition.setting)
    ]


def _gains(base: Predictions, curve: Curve, table: str) -> list[Row]:
    """Return what knowing clips brings beside a run without adaptation."""
    return families(
        [
            row
            for condition, run in curve.items()
            for row in difference_rows(
                NAME, table, base, run, adapt=_by(condition.kind), setting=condition.setting
            )
        ]
    )


def _neutral(curve: Curve, table: str) -> list[Row]:
    """Return what neutral clips bring minus as many clips of any emotion."""
    return families(
        [
            row
            for condition, run in curve.items()
            if condition.kind == NEUTRAL and condition.clips is not None
            for row in difference_rows(
                NAME,
                table,
                curve[Condition(MIXED, condition.clips)],
                run,
                adapt=_by(NEUTRAL),
                setting=condition.setting,
            )
        ]
    )


def _of_kind(curve: Curve, kind: str) -> Curve:
    """Return the conditions of a kind; a curve begins where nothing is known, whatever its kind."""
    return {
        condition: run
        for condition, run in curve.items()
        if condition.kind == kind or condition == NOTHING
    }


def _by(kind: str) -> str:
    return f"{SPEAKER}-adapted by {kind}"


def _enough(gains: Sequence[Row], against: str) -> Iterator[str]:
    """Yield how few clips help for sure, and what knowing all of them brings."""
    rows = [row for row in macro(gains) if row.adapt == _by(MIXED)]
    helpful = [row for row in rows if is_clear(row) and row.value > 0]
    everything = rows[-1]
    if not helpful:
        yield (
            f"no number of known clips can be told apart from {against}; all of them: "
            f"{in_words(everything)} points" + f" ({everything.note})" * bool(everything.note)
        )
        return
    few = helpful[0].setting.removeprefix("clips=")
    yield (
        f"{few} unlabelled clip{'s' * (few != '1')} of a new voice {'are' if few != '1' else 'is'} "
        f"the fewest that surely beat {against}: {in_words(helpful[0])} points; all clips of it: "
        f"{in_words(everything)} points"
    )


def _kinds(neutral: Sequence[Row]) -> Iterator[str]:
    """Yield where neutral clips are worth another amount than clips of any emotion."""
    rows = list(macro(neutral))
    clear = [row for row in rows if is_clear(row)]
    for row in clear or rows[-1:]:
        clips = row.setting.removeprefix("clips=")
        yield verdict(row, f"{clips} neutral clips", f"{clips} of any emotion")


ADAPTATION = Part(NAME, QUESTION, cells, sections, measure)
