"""Cost: what an encoder takes on this machine, beside how well its features tell emotions.

Every encoder is measured in a process of its own, so that its peak memory is its own; the numbers
are kept and never measured again. Scores are those of `features`.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from ser_generalize.benchmark.features import clean_stores, store_cell
from ser_generalize.benchmark.part import Part, Runs, Study
from ser_generalize.benchmark.rows import macro, score_rows
from ser_generalize.benchmark.sections import Figure, Row, Section, Table
from ser_generalize.cell import Cell
from ser_generalize.decoding import peak_memory
from ser_generalize.embeddings import StoreKey
from ser_generalize.encoder import RATE, Encoder, Samples, Settings, load_encoder
from ser_generalize.encoder.checkpoint import OFFLINE, OFFLINE_NAME
from ser_generalize.errors import InputError
from ser_generalize.files import staged, writing
from ser_generalize.launch import joined

NAME = "cost"
TITLE = "What features cost"
QUESTION = "How much computing does an encoder take for how well its features work?"
FILE = "cost.parquet"
SECONDS = 3  # of the clip that everything is measured with
CLIPS = 16  # embedded together, where not the latency is the question
TRIES = 5  # the median counts; one before them warms up
# The metrics of a measurement and the columns that they come from.
METRICS = {
    "parameters (millions)": "parameters",
    "computing (GFLOP a clip)": "gflop",
    "latency (ms a clip)": "latency",
    "throughput (s of audio a second)": "throughput",
    "peak memory (GiB)": "memory",
}


@dataclass(frozen=True)
class Cost:
    """What an encoder took, or why it was not measured."""

    encoder: str
    revision: str
    window: str
    dtype: str
    device: str = ""  # and with how many threads
    parameters: float | None = None  # millions
    gflop: float | None = None  # of a clip's matrix products and attention; None: not counted
    latency: float | None = None  # ms of a clip alone
    throughput: float | None = None  # seconds of audio a second, of CLIPS together
    memory: float | None = None  # GiB: on a CPU of the whole process, on a GPU of its tensors
    problem: str = ""


def cells(study: Study) -> list[Cell]:
    """Return the cells by which features are compared."""
    return [store_cell(study, store) for store in clean_stores(study)]


def measure(study: Study, folder: Path) -> None:
    """Measure the encoder of every store that has not been, or say why it cannot be."""
    device = str(joined().device)
    for key in clean_stores(study).values():
        known, name = read_costs(folder), (key.revision, key.window, key.dtype)
        if name not in known or known[name].problem:  # which may have gone since
            known[name] = _measured(key, device)
            with writing(f"{folder} cannot be written"):
                write_costs(folder, list(known.values()))


def read_costs(folder: Path) -> dict[tuple[str, str, str], Cost]:
    """Return what has been measured, by revision, window and dtype."""
    if not (folder / FILE).is_file():
        return {}
    rows = [Cost(**row) for row in pq.read_table(folder / FILE).to_pylist()]
    return {(row.revision, row.window, row.dtype): row for row in rows}


def write_costs(folder: Path, costs: Sequence[Cost]) -> None:
    """Write all that has been measured, atomically."""
    columns = {
        name: pa.string() if kind is str else pa.float64()
        for name, kind in Cost.__annotations__.items()
    }
    schema = pa.schema(list(columns.items()))
    with staged(folder / FILE) as temporary:
        pq.write_table(pa.Table.from_pylist([asdict(cost) for cost in costs], schema), temporary)


def _measured(key: StoreKey, device: str) -> Cost:
    """Measure in a process of its own, which a crash or a lack of memory ends alone."""
    blank = Cost(key.encoder, key.revision, key.window, key.dtype)
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            return pool.submit(measure_encoder, key, device).result()
    except (InputError, RuntimeError, OSError) as error:  # a dead process is a RuntimeError
        return replace(blank, problem=" ".join(str(error).split())[:300])


def measure_encoder(key: StoreKey, device: str) -> Cost:
    """Load the encoder of a store and measure it; raises InputError where it is not to be had."""
    encoder = load_encoder(_source(key), _settings(key), device)
    if encoder.revision != key.revision:
        raise InputError(
            f"{_source(key)} is here of another revision ({encoder.revision[:12]}) than in the "
            f"store ({key.revision[:12]})"
        )
    wave = _clip()
    latency = _seconds(lambda: encoder.embed([wave]), device)
    together = _seconds(lambda: encoder.embed([wave] * CLIPS), device)
    gpu = torch.cuda.is_available() and device.startswith("cuda")
    name = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads"
    return Cost(
        encoder=key.encoder,
        revision=key.revision,
        window=key.window,
        dtype=key.dtype,
        device=name,
        parameters=encoder.parameters / 1e6,
        gflop=_gflop(encoder, wave),
        latency=1000 * latency,
        throughput=CLIPS * SECONDS / together,
        memory=torch.cuda.max_memory_allocated() / 2**30 if gpu else peak_memory(),
    )


def _source(key: StoreKey) -> str:
    """Return where a store's encoder may be: a folder here, the packaged one, or on the Hub."""
    packaged = key.encoder == OFFLINE_NAME and not Path(key.encoder).is_dir()
    return OFFLINE if packaged else key.encoder


def _settings(key: StoreKey) -> Settings:
    return Settings(key.window, key.margin, key.layers, key.dtype)


def _clip() -> Samples:
    """Return three seconds of noise: what is computed does not depend on what is said."""
    wave = 0.1 * np.random.default_rng(0).standard_normal(SECONDS * RATE)
    return wave.astype(np.float32)


def _seconds(run: Callable[[], object], device: str) -> float:
    times = []
    for _ in range(TRIES + 1):
        start = time.perf_counter()
        run()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return median(times[1:])


def _gflop(encoder: Encoder, wave: Samples) -> float | None:
    """Count the matrix products and attention of a clip; None where there are none, as in C++."""
    counted: Mapping[Any, Any] = {
        torch.ops.mkldnn._linear_pointwise: _product_flop,
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flop,
    }
    with FlopCounterMode(display=False, custom_mapping=dict(counted)) as counter:
        encoder.pool([wave])
    return counter.get_total_flops() / 1e9 or None


def _product_flop(rows: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * int(np.prod(rows[:-1])) * weight[0] * weight[1]


def _attention_flop(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any
) -> int:
    return sdpa_flop_count(query, key, value)


def sections(study: Study, runs: Runs, folder: Path) -> Sequence[Section]:
    """Return what every encoder takes, beside its score in the same cell."""
    costs, rows, notes = read_costs(folder), list[Row](), list[str]()
    for store, key in clean_stores(study).items():
        cost = costs.get((key.revision, key.window, key.dtype))
        called = f"{key.encoder} ({key.window} windows, {key.dtype})"
        run = runs.get(store_cell(study, store))
        if cost is None or run is None:
            notes.append(f"{called}: not measured yet" if run else f"{called}: not scored yet")
            continue
        if cost.problem:
            notes.append(f"{called} was not measured: {cost.problem}")
        (score,) = _one(macro(score_rows(NAME, NAME, run)))
        rows += [score, *_cost_rows(score, cost)]
    if not rows:
        return [Section(NAME, TITLE, QUESTION, notes=notes or ["nothing is measured yet"])]
    notes += [
        f"measured on: {device}" for device in sorted({c.device for c in costs.values()} - {""})
    ]
    table = Table(
        NAME, "UAR and cost of features",
        f"Of a clip of {SECONDS} s: weights used, and operations of its matrix products and "
        f"attention, two each multiply-add, by count; the rest is measured, the median of {TRIES} "
        f"tries, throughput with {CLIPS} clips together. Memory is a whole process's on a CPU.",
        rows, ("encoder", "window"),
    )  # fmt: skip
    figures = [
        figure
        for metric, name, words in (
            ("computing (GFLOP a clip)", "GFLOP", "operations"),
            ("latency (ms a clip)", "ms", "time"),
        )
        for figure in _pareto(rows, metric, name, words)
    ]
    return [Section(NAME, TITLE, QUESTION, list(_findings(rows)), [table], figures, notes)]


def _one(rows: Iterator[Row]) -> list[Row]:
    """Return the row of all corpora; a study of one corpus has only its own."""
    return list(rows)[:1]


def _cost_rows(score: Row, cost: Cost) -> Iterator[Row]:
    """Yield a row for every number that was measured, on the line of the score."""
    for metric, name in METRICS.items():
        value = getattr(cost, name)
        if value is not None:
            yield replace(
                score, metric=metric, value=value, low=None, high=None, chance=None, note=""
            )


def _pareto(rows: Sequence[Row], metric: str, unit: str, words: str) -> Iterator[Figure]:
    """Yield scores over a cost, where two encoders have both."""
    costs = {(row.encoder, row.window): row.value for row in rows if row.metric == metric}
    points = [
        replace(row, setting=f"{unit} a clip={costs[row.encoder, row.window]:.4g}")
        for row in rows
        if row.metric == "uar" and (row.encoder, row.window) in costs
    ]
    if len(points) > 1:
        caption = (
            f"Each dot is an encoder; the line joins those that none of less {words} beats. "
            f"Clips of {SECONDS} s."
        )
        title = f"UAR against {words} a clip"
        yield Figure(f"{NAME}-{words}", "scatter", title, caption, points,
                     x=f"{unit} a clip", series="encoder")  # fmt: skip


def _findings(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what the best and the cheapest features give for what they take."""
    scores = {(row.encoder, row.window): row for row in rows if row.metric == "uar"}
    times = {
        (row.encoder, row.window): row.value for row in rows if row.metric == "latency (ms a clip)"
    }
    timed = {name: row for name, row in scores.items() if name in times}
    if len(timed) < 2:
        return
    best = max(timed, key=lambda name: timed[name].value)
    quick = min(timed, key=lambda name: times[name])
    if best == quick:
        yield f"{best[0]} is both the best and the quickest of {len(timed)}"
    else:
        yield (
            f"{best[0]} has {100 * (timed[best].value - timed[quick].value):.1f} points more UAR "
            f"than {quick[0]}, the quickest, and takes {times[best] / times[quick]:.1f} times as "
            "long for a clip"
        )


COST = Part(NAME, QUESTION, cells, sections, measure)
