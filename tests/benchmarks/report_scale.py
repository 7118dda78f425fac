"""What a report over many predictions takes: seconds and peak memory, of one process and one core.

    python tests/benchmarks/report_scale.py --runs 250 --clips 40000

It fabricates runs over eleven corpora, then times what a study's report does: reads and scores
every run, tests every one against the first, and writes the page, tables and figures.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from ser_generalize.benchmark.part import Study
from ser_generalize.benchmark.report import write_report
from ser_generalize.benchmark.rows import adjusted, difference_rows, score_rows
from ser_generalize.benchmark.sections import Figure, Row, Section, Table
from ser_generalize.labels import FOUR
from ser_generalize.predictions import (
    FILE_NAME,
    About,
    Predictions,
    prediction_schema,
    read_predictions,
    write_predictions,
)
from ser_generalize.statistics import MACRO_AVERAGE

SPEAKERS = (4, 2, 24, 91, 10, 10, 4, 6, 20, 10, 300)  # of the corpora, about those of the eleven


def main() -> None:
    """Fabricate the runs, then report on them in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=250)
    parser.add_argument("--clips", type=int, default=40_000)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # the second process
    arguments = parser.parse_args()
    if arguments.folder:
        report(arguments.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        fabricate(Path(name), arguments.runs, arguments.clips)
        print(f"{arguments.runs} runs of {arguments.clips:,} clips, "
              f"{arguments.runs * arguments.clips:,} predictions")  # fmt: skip
        subprocess.run([sys.executable, __file__, "--folder", name], check=True)


def fabricate(folder: Path, runs: int, clips: int) -> None:
    """Write runs of the same clips, each with its own probabilities."""
    generator = np.random.default_rng(0)
    corpus = np.sort(generator.integers(0, len(SPEAKERS), clips))
    speaker = [f"corpus{c:02d}:{generator.integers(SPEAKERS[c]):03d}" for c in corpus]
    label = generator.integers(0, len(FOUR), clips)
    columns = {
        "fold": speaker, "seed": np.zeros(clips, np.int32), "speaker": speaker,
        "clip_id": [f"corpus{c:02d}/a-clip-of-it-{row:06d}" for row, c in enumerate(corpus)],
        "corpus": [f"corpus{c:02d}" for c in corpus], "sex": ["female"] * clips,
        "age": pa.nulls(clips, pa.int32()), "language": ["en"] * clips,
        "elicitation": ["acted"] * clips, "label_source": ["acted"] * clips,
        "label": [FOUR[one] for one in label],
    }  # fmt: skip
    for number in range(runs):
        about = About(
            run=f"run{number:03d}", protocol="loso", label_set="four", classes=FOUR,
            encoder="an-encoder", window="short", head="128", sampler=f"sampler{number:03d}",
            train_on="each", seeds=1,
        )  # fmt: skip
        scores = generator.normal(size=(clips, len(FOUR)))
        scores[np.arange(clips), label] += 1.2 + number / runs
        shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        named = {f"p_{name}": shares[:, k].astype(np.float32) for k, name in enumerate(FOUR)}
        said = {"run": [about.run] * clips, "protocol": ["loso"] * clips}
        table = pa.table({**said, **columns, **named}).select(prediction_schema(about).names)
        (folder / about.run).mkdir()
        write_predictions(folder / about.run / FILE_NAME, Predictions(about, table))


def report(folder: Path) -> None:
    """Score, compare and report the runs of a folder, and print what each step took."""
    started = time.perf_counter()
    runs = [read_predictions(path) for path in sorted(folder.glob("run*"))]
    read = time.perf_counter()
    scores = [row for run in runs for row in score_rows("grid", "scores", run, pooled=True)]
    scored = time.perf_counter()
    differences = [
        row for run in runs[1:] for row in difference_rows("grid", "differences", runs[0], run)
    ]
    compared = time.perf_counter()
    corpora = tuple(sorted({row.corpus for row in scores}))
    study = Study("data", (folder / "store",), corpora, 1, "128")
    write_report(folder / "report", study, [section(scores, adjusted(differences))])
    ended = time.perf_counter()
    busy = time.process_time()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"read {read - started:.1f} s, scored {scored - read:.1f} s, compared "
          f"{compared - scored:.1f} s, written {ended - compared:.1f} s; in all "
          f"{ended - started:.1f} s ({busy:.1f} s of a core with all imports), "
          f"peak memory {memory:.2f} GB")  # fmt: skip


def section(scores: list[Row], differences: list[Row]) -> Section:
    """Return a section of all the rows, and a figure of the averages."""
    average = [row for row in scores if row.corpus == MACRO_AVERAGE]
    return Section(
        "grid", "Samplers", "Which one?", ["One of them is best."],
        [Table("scores", "UAR", "", scores, ("corpus", "sampler")),
         Table("differences", "Minus the first", "", differences, ("corpus", "sampler"))],
        [Figure("scores", "intervals", "UAR", "", average, x="sampler", series="corpus")],
    )  # fmt: skip


if __name__ == "__main__":
    main()
