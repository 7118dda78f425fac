"""What sets of corpora are worth: how many are enough, and the Shapley value of each."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ser_generalize.benchmark.part import Study
from ser_generalize.benchmark.rows import estimated, in_words
from ser_generalize.benchmark.sections import DIFFERENCE, SCORE, Figure, Row, Section, Table
from ser_generalize.benchmark.shapley import Contrast, Game, estimate, of_size, shapley
from ser_generalize.benchmark.speed import duration
from ser_generalize.benchmark.subsets import (
    Plan,
    cell_of,
    done_sets,
    folder_of,
    read_games,
    read_plan,
)
from ser_generalize.protocols import UNION
from ser_generalize.statistics import MACRO_AVERAGE, difference_estimate, score_estimate
from ser_generalize.summary import points

TITLE = "Which corpora, and how many"
QUESTION = "How many corpora are enough, and what is each of them worth as training data?"
SHAPLEY, CURVE = "shapley", "corpora"
ENOUGH = 0.01  # of UAR: with so little to gain, more corpora are not worth their trouble


def worth_section(study: Study, folder: Path, part: str) -> Section:
    """Return the curve over numbers of corpora and their Shapley values, or what is missing."""
    where = folder_of(study, folder)
    plan = read_plan(study, where)
    done = len(done_sets(where)) if plan is not None else 0
    if plan is None or done < len(plan.sets) or not plan.sets:
        return Section(part, TITLE, QUESTION, notes=[_why_not(study, plan, done)])
    games = read_games(study, plan, where)
    said = {**_said(study), "part": part}
    worth, curve = _worth(study, games, said), _curve(study, games, said)
    total = sorted(
        (row for row in worth if row.corpus == MACRO_AVERAGE), key=lambda row: -row.value
    )
    return Section(
        part,
        TITLE,
        QUESTION,
        [*_enough(games, curve), *_best(total)],
        _tables(part, total, worth, curve),
        _figures(part, total, curve),
        _notes(plan, games, study),
    )


def _tables(
    part: str, total: Sequence[Row], worth: Sequence[Row], curve: Sequence[Row]
) -> list[Table]:
    shown = ("trained_on", "corpus")
    by_corpus = [row for row in worth if row.corpus != MACRO_AVERAGE]
    return [
        Table(
            f"{part}-{SHAPLEY}", "Shapley values of corpora",
            "What a corpus adds to UAR as training data: the mean over all other corpora as tests.",
            total, ("trained_on",),
        ),
        Table(
            f"{part}-{SHAPLEY}-by-corpus", "Shapley values by tested corpus",
            "A row is the corpus trained on, a column the one tested.",
            by_corpus, shown, *shown,
        ),
        Table(
            f"{part}-{CURVE}", "UAR by the number of corpora trained on",
            "The mean over all sets of so many other corpora.", curve, ("setting", "corpus"),
        ),
    ]  # fmt: skip


def _figures(part: str, total: Sequence[Row], curve: Sequence[Row]) -> list[Figure]:
    return [
        Figure(
            f"{part}-{CURVE}", "curve", "How many corpora are enough",
            "UAR on corpora that were not trained on, the mean over all sets of so many others.",
            curve, x="setting", series="corpus",
        ),
        Figure(
            f"{part}-{SHAPLEY}", "intervals", "What each corpus is worth as training data",
            "Shapley values in points of UAR, 95 % intervals over the tested speakers.",
            total, x="trained_on", series="corpus",
        ),
    ]  # fmt: skip


def _why_not(study: Study, plan: Plan | None, done: int) -> str:
    if plan is None:
        return "no set of corpora has been trained on yet: run the study"
    if not plan.sets:
        return (
            f"the budget of {study.budget:g} minutes is too short for even a sample of the "
            f"{plan.all_sets:,} sets of corpora: all of them take about {duration(plan.seconds)}, "
            f"a sample of {plan.least:,} a share of that; give a longer --budget"
        )
    return f"{done:,} of {len(plan.sets):,} sets of corpora are trained on: run the study again"


def _said(study: Study) -> dict[str, Any]:
    """Return what all rows have in common."""
    cell = cell_of(study)
    store = study.reader.data(cell).store
    return {
        "protocol": cell.protocol,
        "label_set": cell.labels,
        "encoder": store.encoder,
        "window": store.window,
        "sampler": cell.sampler,
        "head": cell.head,
        "adapt": cell.adapt,
    }


def _row(
    parts: Sequence[tuple[Game, Contrast]], corpus: str, kind: str, said: Mapping[str, Any]
) -> Row:
    """Return a mean of contrasts over tested corpora as a row."""
    sampled, of_sets = estimate(parts)
    speakers = sum(game.speakers for game, _ in parts)
    found = (score_estimate if kind == SCORE else difference_estimate)(sampled, speakers)
    columns = estimated(found)
    if of_sets:
        error = f"standard error by sampling sets {100 * of_sets:.2f} points"
        columns["note"] = "; ".join(filter(None, [found.note, error]))
    return Row(
        corpus=corpus,
        kind=kind,
        clips=int(sum(game.clips.sum() for game, _ in parts)),
        speakers=speakers,
        chance=sum(game.nothing for game, _ in parts) / len(parts) if kind == SCORE else None,
        **columns,
        **said,
    )


def _worth(study: Study, games: Mapping[str, Game], said: Mapping[str, Any]) -> list[Row]:
    """Return the Shapley value of every corpus for every other one, and the mean over those."""
    rows = []
    for name in study.corpora:
        parts = {
            tested: (game, shapley(game, _place(study, name, tested)))
            for tested, game in games.items()
            if tested != name
        }
        more = {**said, "metric": SHAPLEY, "trained_on": name}
        table = f"{said['part']}-{SHAPLEY}"
        by_corpus = {**more, "table": f"{table}-by-corpus"}
        rows += [_row([one], tested, DIFFERENCE, by_corpus) for tested, one in parts.items()]
        average = {**more, "table": table}
        rows.append(_row(list(parts.values()), MACRO_AVERAGE, DIFFERENCE, average))
    return rows


def _place(study: Study, name: str, tested: str) -> int:
    """Return which player of the game of a tested corpus a corpus is."""
    return [other for other in study.corpora if other != tested].index(name)


def _curve(study: Study, games: Mapping[str, Game], said: Mapping[str, Any]) -> list[Row]:
    """Return UAR by how many other corpora were trained on, of every corpus and averaged."""
    rows = []
    for size in range(1, len(study.corpora)):
        parts = {tested: (game, of_size(game, size)) for tested, game in games.items()}
        more = {
            **said,
            "table": f"{said['part']}-corpora",
            "trained_on": UNION,
            "setting": f"corpora={size}",
        }
        rows.append(_row(list(parts.values()), MACRO_AVERAGE, SCORE, more))
        rows += [_row([one], tested, SCORE, more) for tested, one in parts.items()]
    return rows


def _enough(games: Mapping[str, Game], curve: Sequence[Row]) -> Iterator[str]:
    """Yield from how many corpora on the others together add less than ENOUGH."""
    average = [row for row in curve if row.corpus == MACRO_AVERAGE]
    most = len(average)
    all_of_them = f", on all {most} {in_words(average[-1])}" if most > 1 else ""
    yield (
        f"trained on one other corpus UAR is {in_words(average[0])}{all_of_them}, averaged over "
        "tested corpora"
    )
    for size in range(1, most):
        parts = [(game, of_size(game, most) + of_size(game, size) * -1) for game in games.values()]
        gained = estimate(parts)[0]
        if gained.value < ENOUGH:
            yield (
                f"{size} of {most} corpora are enough: all of them add "
                f"{points(gained.value)} points to what a set of {size} gives on average"
            )
            return


def _best(rows: Sequence[Row]) -> Iterator[str]:
    ordered = sorted(rows, key=lambda row: -row.value)
    if len(ordered) < 3:
        return  # each is only worth what the other makes of it
    for word, row in (("most", ordered[0]), ("least", ordered[-1])):
        yield f"{row.trained_on} is worth the {word}: {in_words(row)} points of UAR (Shapley)"


def _notes(plan: Plan, games: Mapping[str, Game], study: Study) -> list[str]:
    seeds = "" if study.seeds == 1 else f", from one seed where cells have {study.seeds}"
    classes = {name: game.clips.shape[1] for name, game in games.items()}
    few = [f"{name} ({count})" for name, count in classes.items() if count < max(classes.values())]
    notes = [
        f"every set was trained on once{seeds}; intervals do not cover what another seed changes",
        "training on nothing is worth 1/K for the K classes that the tested corpus holds; a class "
        "that a set lacks has recall 0",
    ]
    if few:
        notes.append(f"corpora that hold fewer classes than others: {', '.join(few)}")
    if plan.is_sample:
        notes.append(
            f"{len(plan.sets):,} of {plan.all_sets:,} sets were trained on, chosen at random by "
            f"size; all of them take about {duration(plan.seconds)}; intervals include that"
        )
    return notes
