"""Plausible sections of a study, without one: for tests of the report and for looking at it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ser_generalize.benchmark.part import Study
from ser_generalize.benchmark.sections import DIFFERENCE, POOLED, Figure, Row, Section, Table
from ser_generalize.statistics import MACRO_AVERAGE

SPEAKERS = {
    "ravdess": (24, 672), "emodb": (10, 339), "crema_d": (91, 4900), "savee": (4, 300),
    "tess": (2, 1600), "esd": (10, 14000),
}  # fmt: skip
CORPORA = tuple(sorted(SPEAKERS))
SAMPLERS = ("none", "under", "smote", "adasyn")
WHERE = (MACRO_AVERAGE, POOLED, *CORPORA)
BASE = Row(
    part="", table="", value=0.0, corpus="", trained_on="each", protocol="loso", label_set="four",
    encoder="openai/whisper-base", window="short", sampler="none", head="256", adapt="none",
    chance=0.25,
)  # fmt: skip


def study() -> Study:
    return Study("data", (Path("embeddings/whisper-base"),), CORPORA, 2, "256")


def number(like: Row, value: float, corpus: str, generator: np.random.Generator) -> Row:
    """Give a row its value, its interval and its n; two speakers give no interval."""
    speakers, clips = SPEAKERS.get(corpus, (141, 21811))
    half = float(min(0.35, 0.32 / np.sqrt(speakers)) * generator.uniform(0.8, 1.2))
    signed = like.kind == DIFFERENCE
    half = half / 3 if signed else half
    low, high = (max(value - half, -1.0 if signed else 0.0), min(value + half, 1.0))
    few = speakers < 4
    return replace(
        like, value=float(value), corpus=corpus, clips=clips, speakers=speakers,
        low=None if few else float(low), high=None if few else float(high),
        chance=None if signed else like.chance,
        note="no interval: 2 known speakers, at least 4 are needed" if few else "",
    )  # fmt: skip


def grid(generator: np.random.Generator) -> Section:
    rows, differences = [], []
    level = {name: generator.uniform(0.5, 0.9) for name in WHERE}
    for sampler, gain in zip(SAMPLERS, (0, -0.04, 0.012, 0.006), strict=True):
        like = replace(BASE, part="grid", table="grid-scores", sampler=sampler)
        rows += [number(like, level[name] + gain, name, generator) for name in WHERE]
        if gain:
            like = replace(like, table="grid-differences", kind=DIFFERENCE, compared_with="none",
                           p=abs(gain) ** 2, p_adjusted=3 * abs(gain) ** 2)  # fmt: skip
            differences += [number(like, gain, name, generator) for name in WHERE]
    rows.sort(key=lambda row: WHERE.index(row.corpus))
    return Section(
        "grid", "Samplers", "Does balancing the classes help?",
        ["Under-sampling loses 4.0 points of UAR on average over corpora (95 % interval -4.9 to "
         "-3.1, 141 speakers); SMOTE and ADASYN cannot be told apart from no sampling."],
        [Table("grid-scores", "UAR by sampler", "Leave one speaker out, within each corpus.", rows,
               ("corpus", "sampler")),
         Table("grid-differences", "Against no sampling", "Paired by speaker.", differences,
               ("corpus", "sampler"))],
        [Figure("grid-scores", "intervals", "UAR by corpus and sampler",
                "Dot: UAR. Bar: 95 % interval over speakers. Dashed: chance.", rows)],
        ["tess has 2 speakers: no interval, and no test can decide anything about it."],
    )  # fmt: skip


def generalisation(generator: np.random.Generator) -> Section:
    like = replace(BASE, part="generalisation")
    rows = [
        number(
            replace(like, table="cross", protocol="cross", trained_on=origin),
            generator.uniform(0.28, 0.62), target, generator,
        )
        for origin in CORPORA for target in CORPORA if origin != target
    ]  # fmt: skip
    subsets = [
        number(replace(like, table="subsets", protocol="loco", trained_on="union", sampler=sampler,
                       setting=f"corpora={size}"),
               0.36 + 0.05 * np.log2(size) + shift, MACRO_AVERAGE, generator)
        for sampler, shift in (("none", 0), ("smote", 0.01)) for size in (1, 2, 3, 4, 5)
    ]  # fmt: skip
    return Section(
        "generalisation", "Across corpora", "What is left when neither voice nor corpus is known?",
        ["A model trained on one corpus and tested on another reaches 44.1 % UAR on average, 19 "
         "points above chance and 28 under leave-one-speaker-out.",
         "Every doubling of the number of training corpora adds about 5 points."],
        [Table("cross", "Train by test", "One model per training corpus.", rows,
               rows_by="trained_on", columns_by="corpus")],
        [Figure("cross", "matrix", "UAR by training and test corpus", "Shade: UAR.", rows,
                "trained_on", "corpus"),
         Figure("subsets", "curve", "UAR over the number of training corpora",
                "Leave one corpus out. Band: 95 % interval.", subsets)],
    )  # fmt: skip


def adaptation(generator: np.random.Generator) -> Section:
    rows = []
    for sampler, shift in (("none", 0.0), ("smote", 0.015)):
        for clips, gain in zip((0, 1, 2, 5, 10, 20, "all"), (0, 0.02, 0.05, 0.09, 0.12, 0.14, 0.15),
                               strict=True):  # fmt: skip
            like = replace(BASE, part="adaptation", table="clips", sampler=sampler,
                           adapt="speaker-adapted", setting=f"clips={clips}")  # fmt: skip
            rows += [number(like, 0.55 + gain + shift, name, generator)
                     for name in ("emodb", "ravdess")]  # fmt: skip
    return Section(
        "adaptation", "How much of a new voice?", "How many unlabelled clips are enough?",
        ["Ten unlabelled clips of a new voice add 12 points of UAR, four fifths of what all do."],
        [Table("clips", "UAR over unlabelled clips", "", rows, ("corpus", "setting", "sampler"))],
        [Figure("clips", "curve", "UAR over unlabelled clips of the tested voice",
                "Band: 95 % interval.", rows)],
    )  # fmt: skip


def honesty(generator: np.random.Generator) -> Section:
    like = replace(
        BASE, part="honesty", table="leak", protocol="random", leaks="speaker, session, text",
        kind=DIFFERENCE, compared_with="loso",
    )  # fmt: skip
    rows = [number(like, generator.uniform(0.05, 0.2), name, generator) for name in WHERE]
    return Section(
        "honesty", "What a random split claims", "How much of a result is knowing the voice?",
        ["A random split claims 12.4 points more than leaving speakers out (95 % interval 10.9 to "
         "13.9, 141 speakers)."],
        [Table("leak", "Random split minus leave one speaker out", "Same clips.", rows)],
        [Figure("leak", "intervals", "What knowing the voice adds", "Filled: excludes zero.", rows,
                series="protocol")],
    )  # fmt: skip


def features(generator: np.random.Generator) -> Section:
    encoders = {"whisper-tiny": 0.03, "whisper-base": 0.07, "whisper-small": 0.24, "egemaps": 0.004}
    like = replace(BASE, part="features")
    ranks = [
        replace(like, table="ranks", encoder=name, value=rank, corpus=MACRO_AVERAGE,
                metric="mean rank", chance=2.5, clips=21811, speakers=141)
        for name, rank in zip(encoders, (2.7, 2.1, 1.3, 3.9), strict=True)
    ]  # fmt: skip
    costs = [
        number(replace(like, table="cost", encoder=name, setting=f"seconds={cost}"),
               0.5 + 0.07 * np.log10(cost * 1000), MACRO_AVERAGE, generator)
        for name, cost in encoders.items()
    ]  # fmt: skip
    return Section(
        "features", "Features", "Which features travel?",
        ["whisper-small ranks first on average, eGeMAPS last; the others cannot be told apart."],
        [Table("ranks", "Mean ranks", "Over six corpora.", ranks, ("encoder",))],
        [Figure("ranks", "ranks", "Mean ranks over corpora",
                "Bars join encoders that cannot be told apart.", ranks, series="encoder",
                limit=1.1),
         Figure("cost", "scatter", "UAR over seconds a clip", "Line: what no cheaper one beats.",
                costs, "seconds", "encoder")],
    )  # fmt: skip


def unfinished(_: np.random.Generator) -> Section:
    return Section(
        "robustness", "Robustness", "What does noise cost?",
        tables=[Table("noise", "UAR against noise", "", [])],
        figures=[Figure("noise", "curve", "UAR against noise", "", [])],
        notes=["noise: the cells of 3 levels are not finished", "no cell of speed is finished"],
    )  # fmt: skip


def sections() -> Sequence[Section]:
    """Return sections of every kind, the same each time."""
    generator = np.random.default_rng(0)
    makers = (grid, generalisation, adaptation, honesty, features, unfinished)
    return [make(generator) for make in makers]
