"""What a study costs: cells a second, whether cost is linear, and how long the union would take.

    python tests/benchmarks/study_cost.py
    python tests/benchmarks/study_cost.py --head 4096,2048,1024,512 --layers 33 --width 1280

Fabricated clips and embeddings. First the same cells on two, four and eight corpora, then one, two
and four samplers on four corpora, after a round that warms up: a unit is one corpus under one
sampler, and its seconds should stay the same. Then the parts of the study over eleven corpora of
about the union's real sizes: what there is to train, in clips, and by a trial of the head how long
this machine takes for it. Neighbour searches of SMOTE and ADASYN come on top.
"""

import argparse
import contextlib
import io
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from accelerate import Accelerator

from ser_generalize.benchmark.grid import make_grid, run_grid
from ser_generalize.benchmark.paper import GRID
from ser_generalize.benchmark.part import Part, Study
from ser_generalize.benchmark.registry import PARTS
from ser_generalize.benchmark.speed import clips_per_second, duration, training_clips
from ser_generalize.benchmark.study import Asked, open_study
from ser_generalize.benchmark.subsets import cell_of
from ser_generalize.cell import Cell
from ser_generalize.embeddings import ClipRow, StoreKey, add_shard, write_manifest
from ser_generalize.errors import InputError
from ser_generalize.labels import FIVE
from ser_generalize.launch import joined, processes
from ser_generalize.protocols import EACH
from ser_generalize.reader import Reader
from ser_generalize.schema import clip_features

Sizes = Mapping[str, tuple[int, int]]  # corpus: speakers and clips
SAMPLERS = ("none", "under", "smote", "adasyn")
UNION: Sizes = {  # about what the eleven hold in English and five classes
    "asvp_esd": (60, 1250), "crema_d": (91, 4900), "emofilm": (60, 221), "emov_db": (4, 2900),
    "esd": (10, 17500), "iemocap": (10, 5638), "jl_corpus": (4, 960), "meld": (260, 12500),
    "ravdess": (24, 864), "savee": (4, 360), "tess": (2, 2000),
}  # fmt: skip


def main() -> None:
    """Time the cells, then estimate the union."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--head", default="128")
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--width", type=int, default=384)
    arguments = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    os.environ["TQDM_DISABLE"] = "1"
    with tempfile.TemporaryDirectory() as name, processes() as accelerator:
        shape = arguments.layers, arguments.width
        for folder in ("warm", "cold"):
            lines = linear(Path(name) / folder, arguments.head, shape, accelerator)
        print("\n".join(lines))
        union(Path(name) / "union", arguments.head, shape)


def linear(folder: Path, head: str, shape: tuple[int, int], accelerator: Accelerator) -> list[str]:
    """Return a line for every number of corpora and of samplers."""
    lines, all_of_them = [], {f"c{number}": (4, 160) for number in range(8)}
    asked = Asked(*map(str, [fabricate(folder / "data", all_of_them)]), [""], head=head)
    store = embed(folder / "store", all_of_them, shape, with_values=True)
    for corpora, samplers in ((2, 4), (4, 4), (8, 4), (4, 1), (4, 2)):
        names = tuple(all_of_them)[:corpora]
        some = replace(asked, embeddings=[str(store)], corpora=names)
        out = folder / f"{corpora}-{samplers}"
        seconds = run(some, first(samplers), out, accelerator)
        unit = seconds / corpora / samplers
        lines.append(
            f"{corpora} corpora, {samplers} samplers: {seconds:.1f} s, {samplers / seconds:.2f} "
            f"cells a second, {unit:.3f} s a unit"
        )
    return lines


def first(samplers: int) -> Part:
    """Return the paper's grid on single corpora, with its first few samplers."""

    def cells(study: Study) -> list[Cell]:
        return [study.cell(sampler=name, train_on=EACH) for name in SAMPLERS[:samplers]]

    return replace(GRID, cells=cells)


def run(asked: Asked, part: Part, out: Path, accelerator: Accelerator) -> float:
    """Return the seconds that the cells of a part take."""
    grid = make_grid(open_study(asked), [part], out)
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        run_grid(grid, accelerator)
    return time.perf_counter() - start


def union(folder: Path, head: str, shape: tuple[int, int]) -> None:
    """Print what the parts have to train over the whole union, each cell once."""
    data, store = fabricate(folder / "data", UNION), embed(folder / "store", UNION, shape)
    study = open_study(Asked(str(data), [str(store)], head=head))
    reader = study.reader
    rate = rate_of(folder / "trial", head, shape)
    print(f"the union: a trial trains on {rate:,.0f} clips a second")
    counted: set[Cell] = set()
    for part in PARTS.values():
        cells = {study.explicit(cell) for cell in part.cells(study)} - counted
        counted |= cells
        report(part.name, f"{len(cells)} cells", cost(cells, reader), rate)
    sets = 2 ** (len(UNION) - 1) * len(reader.data(cell_of(study)).labels)
    clips = sets * cell_of(study).recipe.epochs
    report("generalise", f"{2 ** len(UNION) - 2:,} sets of corpora", clips, rate)


def cost(cells: Sequence[Cell] | set[Cell], reader: Reader) -> int:
    """Return on how many clips the heads of some cells are trained."""
    total, folds = 0, {}
    for cell in cells:
        key = (cell.labels, cell.corpora, cell.languages, cell.protocol, cell.train_on)
        try:
            folds[key] = folds.get(key) or reader.folds(cell)
        except InputError:  # as in a study: a cell of votes or of official splits, here without
            continue
        total += training_clips(cell, folds[key], reader.data(cell).labels)
    return total


def report(part: str, what: str, clips: int, rate: float) -> None:
    print(f"  {part}: {what}, {clips:,} clips, about {duration(clips / rate)} here", flush=True)


def rate_of(folder: Path, head: str, shape: tuple[int, int]) -> float:
    """Return how fast heads of this shape are trained here."""
    sizes = {"a": (4, 160), "b": (4, 160)}
    data = fabricate(folder / "data", sizes)
    store = embed(folder / "store", sizes, shape, with_values=True)
    study = open_study(Asked(str(data), [str(store)], head=head))
    return clips_per_second(study.reader.material(study.cell()), joined())


def fabricate(folder: Path, sizes: Sizes) -> Path:
    """Write a dataset of clips without audio, the classes a little imbalanced."""
    configs = "".join(
        f"  - config_name: {name}\n    data_files: {name}/*.parquet\n" for name in sizes
    )
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    for name, (speakers, clips) in sizes.items():
        (folder / name).mkdir()
        rows = [row(name, number, speakers) for number in range(clips)]
        table = pa.Table.from_pylist(rows, schema=clip_features().arrow_schema)
        pq.write_table(table, folder / name / f"{name}.parquet")
    return folder


def row(corpus: str, number: int, speakers: int) -> dict[str, object]:
    label = (number // speakers) ** 2 % 11 % len(FIVE)
    clip_id = f"{corpus}/{number:06d}"
    return {
        "clip_id": clip_id, "corpus": corpus, "sha256": clip_id, "duration": 3.0,
        "label4": label if label < 4 else None, "label5": label, "native_label": FIVE[label],
        "speaker": f"{corpus}:{number % speakers:03d}", "language": "en",
        "text_id": f"{corpus}:{number // speakers % 10}", "elicitation": "synthetic",
        "vocalisation": "speech",
    }  # fmt: skip


def embed(folder: Path, sizes: Sizes, shape: tuple[int, int], with_values: bool = False) -> Path:
    """Write a store of random numbers, or its manifest alone where nothing is trained."""
    layers, width = shape
    statistics = ("mean", "std")
    key = StoreKey("random", "0", "short", 0.0, tuple(range(layers)), statistics, width, "fp32")
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for corpus, (speakers, clips) in sizes.items() if with_values else ():
        rows = [row(corpus, number, speakers) for number in range(clips)]
        held = [ClipRow(str(one["clip_id"]), str(one["sha256"]), corpus, None, 3.0) for one in rows]
        values = generator.normal(size=(clips, *key.shape)).astype(np.float16)
        add_shard(folder, corpus, key, held, values)
    write_manifest(folder, key, [])
    return folder


if __name__ == "__main__":
    main()
