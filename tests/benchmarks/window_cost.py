"""What short and cut windows, fewer layers and bf16 cost in UAR against windows of 30 s.

    python tests/benchmarks/window_cost.py choose --data data --encoder whisper-base --cache cost
    python tests/benchmarks/window_cost.py confirm --data data --encoder whisper-base --cache cost \
        --window short --layers 0 1 2 3 --dtype bf16

`data` holds EmoDB and RAVDESS, built. Every clip is embedded in short windows, in cut ones with
margins of 0 to 2 s, and in windows of 30 s (slow; kept in the cache), and logistic regressions, as
`train --head logistic` has it, leave one speaker out: 20 of them, each fitted on training clips
drawn again with replacement, and what they say is counted together. Of a single one's clips some
lie so near to a border that a rounding decides, and one of them is worth a point and more.
`choose` prints how far the features of each layer are from those of 30 s (root mean square, in
deviations over the clips), UAR and its difference from 30 s on EmoDB and RAVDESS actors 01 to 06,
whose models have seen no other actor. `confirm` prints the difference of one choice from 30 s, with
the same layers and with every one, on RAVDESS actors 07 to 12, which `choose` never looks at.
Points, with 95 % intervals over speakers, paired by clip and probe.
"""

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from ser_generalize.audio import decode_clip
from ser_generalize.command import progress_bar
from ser_generalize.dataset import load_clips
from ser_generalize.encoder import Encoder, Settings, batches, load_encoder
from ser_generalize.heads import clip_normalised
from ser_generalize.launch import single_threads
from ser_generalize.linear import STEPS, C
from ser_generalize.scores import confusion
from ser_generalize.statistics import (
    Estimate,
    Sampled,
    difference_estimate,
    macro_average,
    sample,
    score_estimate,
)

CHOOSE = tuple(f"ravdess:{actor:02d}" for actor in range(1, 7))
CONFIRM = tuple(f"ravdess:{actor:02d}" for actor in range(7, 13))
PROBES = 20
EXACT = Settings("30s", dtype="fp32")
WAYS = {
    "short": Settings("short", dtype="fp32"),
    "short, bf16": Settings("short", dtype="bf16"),
    "cut": Settings("cut", dtype="fp32"),
    "cut, bf16": Settings("cut", dtype="bf16"),
    "cut, 0.5 s": Settings("cut", 0.5, dtype="fp32"),
    "cut, 1 s": Settings("cut", 1.0, dtype="fp32"),
    "cut, 2 s": Settings("cut", 2.0, dtype="fp32"),
}
LABELS = {"four": "label4", "native": "native_label"}

Vectors = NDArray[np.float32]  # [clips, layers, 2 * width], each layer-normed


@dataclass(frozen=True)
class Corpus:
    """Some clips of one corpus: who speaks and what is felt, by label set."""

    rows: NDArray[np.int64]  # in the dataset
    speakers: NDArray[np.object_]
    labels: dict[str, NDArray[np.int64]]  # -1 where a clip stands outside


def main() -> None:
    """Parse the command line and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("choose", "confirm"))
    parser.add_argument("--data", required=True)
    parser.add_argument("--encoder", required=True, help="a Whisper")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--window", default="short")
    parser.add_argument("--layers", type=int, nargs="+")
    parser.add_argument("--dtype", default="fp32")
    arguments = parser.parse_args()
    study = Study(arguments.data, arguments.encoder, arguments.cache)
    if arguments.step == "choose":
        study.choose()
    else:
        layers = tuple(arguments.layers) if arguments.layers else None
        study.confirm(Settings(arguments.window, layers=layers, dtype=arguments.dtype))


class Study:
    """One encoder on both corpora."""

    def __init__(self, data: str, encoder: str, cache: Path) -> None:
        self.clips = load_clips(data, ["emodb", "ravdess"])
        self.encoder, self.cache = encoder, cache

    def choose(self) -> None:
        """Print every table that a choice may rest on."""
        parts = [self._part("emodb"), self._part("ravdess", CHOOSE)]
        exact = self._vectors(EXACT)
        found = {way: self._vectors(settings) for way, settings in WAYS.items()}
        print("\ndistance from 30 s, layer by layer")
        for way, vectors in found.items():
            print(f"  {way:<14}", *(f"{one:6.3f}" for one in _distances(vectors, exact)))
        for label in LABELS:
            counts = [_predicted(exact, part, label) for part in parts]
            print(f"\n{label}: every layer; 30 s has {_scores(counts)}")
            for way, vectors in found.items():
                self._print(way, counts, [_predicted(vectors, part, label) for part in parts])
            print(f"{label}: some layers against every layer of 30 s, and against the same of 30 s")
            several = [(f"0-{layer}", slice(layer + 1)) for layer in range(1, exact.shape[1] - 1)]
            single = [(f"{layer}", slice(layer, layer + 1)) for layer in range(exact.shape[1])]
            for name, layers in [*several, *single]:
                same = [_predicted(exact[:, layers], part, label) for part in parts]
                short = [_predicted(found["short"][:, layers], part, label) for part in parts]
                self._print(f"30 s {name}", counts, same)
                self._print(f"short {name}", counts, short)
                self._print("  same layers", same, short)

    def confirm(self, settings: Settings) -> None:
        """Print what one choice costs on the actors that no choice has seen."""
        part = self._part("ravdess", CHOOSE + CONFIRM)
        exact, chosen = self._vectors(EXACT), self._vectors(settings)
        same = exact[:, list(settings.layers)] if settings.layers else exact
        for label in LABELS:
            counts = [_predicted(one, part, label, CONFIRM) for one in (exact, same, chosen)]
            self._print(f"{label}, every layer", counts[:1], counts[2:])
            self._print(f"{label}, same layers", counts[1:2], counts[2:])

    def _print(
        self, name: str, exact: list[NDArray[np.int64]], found: list[NDArray[np.int64]]
    ) -> None:
        pairs = [np.stack(pair) for pair in zip(exact, found, strict=True)]
        differences = _estimates(pairs, difference_estimate)
        shown = "  ".join(_points(difference, "+") for difference in differences)
        print(f"  {name:<14} UAR {_scores(found)}   difference {shown}", flush=True)

    def _part(self, corpus: str, speakers: Iterable[str] | None = None) -> Corpus:
        wanted = np.array(self.clips["corpus"]) == corpus
        names = np.array(self.clips["speaker"], dtype=object)
        if speakers:
            wanted &= np.isin(names.astype(str), list(speakers))
        rows = np.flatnonzero(wanted)
        labels = {}
        for label, column in LABELS.items():
            values = [self.clips[column][row] for row in rows]
            kinds = sorted({str(value) for value in values if value is not None})
            labels[label] = np.array([-1 if v is None else kinds.index(str(v)) for v in values])
        return Corpus(rows, names[rows], labels)

    def _vectors(self, settings: Settings) -> Vectors:
        """Embed every clip, or read what the cache holds of it, in the store's precision."""
        layers = "".join(f"-{layer}" for layer in settings.layers or ())
        way = f"{settings.window}-{settings.margin or 0:g}-{settings.dtype}{layers}"
        file = self.cache / f"{Path(self.encoder).name}-{way}.npy"
        if not file.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            values = self._embed(load_encoder(self.encoder, settings), way)
            np.save(file, values.astype(np.float16))
        return clip_normalised(np.load(file))

    def _embed(self, encoder: Encoder, name: str) -> NDArray[np.float32]:
        audio = self.clips["audio"]
        waves = [decode_clip(row["bytes"]) for row in audio]
        values = []
        with progress_bar(len(waves), name, "clip") as progress:
            for batch in batches(encoder, [len(wave) for wave in waves]):
                values.append(encoder.embed(waves[batch]))
                progress.update(len(values[-1]))
        return np.concatenate(values)


def _distances(vectors: Vectors, exact: Vectors) -> list[float]:
    """Return how far the features of every layer are, in deviations over the clips."""
    deviation = np.maximum(exact.std(axis=0), 1e-6)
    return np.sqrt((((vectors - exact) / deviation) ** 2).mean(axis=(0, 2))).tolist()


def _predicted(
    vectors: Vectors, part: Corpus, label: str, tested: Sequence[str] = ()
) -> NDArray[np.int64]:
    """Leave one speaker out and count true against predicted classes, [speakers, K, K]."""
    known = part.labels[label] >= 0
    rows, speakers, labels = part.rows[known], part.speakers[known], part.labels[label][known]
    features = vectors[rows].reshape(len(rows), -1)

    def leave_out(speaker: str) -> NDArray[np.int64]:
        test = speakers == speaker
        train, rest = _standardised(features[~test], features[test])
        counts = []
        for drawn in np.random.default_rng(0).integers(len(train), size=(PROBES, len(train))):
            model = LogisticRegression(C=C, max_iter=STEPS)
            predicted = model.fit(train[drawn], labels[~test][drawn]).predict(rest)
            counts.append(confusion(labels[test], predicted, labels.max() + 1))
        return np.sum(counts, axis=0)

    with single_threads(os.cpu_count() or 1) as workers:
        return np.stack(list(workers.map(leave_out, tested or sorted(set(speakers)))))


def _standardised(train: Vectors, test: Vectors) -> tuple[Vectors, Vectors]:
    """Standardise by the training part, and turn it into the few axes that its clips span.

    The penalty does not see the turn, so the model is the same and much quicker to fit.
    """
    mean, deviation = train.mean(axis=0), np.maximum(train.std(axis=0), 1e-6)
    train, test = (train - mean) / deviation, (test - mean) / deviation
    _, _, axes = np.linalg.svd(train, full_matrices=False)
    return train @ axes.T, test @ axes.T


def _estimates(
    counts: list[NDArray[np.int64]], estimate: Callable[[Sampled, int], Estimate]
) -> Iterator[Estimate]:
    """Yield the UAR's estimate of every corpus and, of several, their macro-average."""
    sampled: list[Sampled] = [sample(one)["uar"] for one in counts]
    speakers = [one.shape[1] for one in counts]
    yield from (estimate(one, n) for one, n in zip(sampled, speakers, strict=True))
    if len(counts) > 1:
        yield estimate(macro_average(sampled), sum(speakers))


def _scores(counts: list[NDArray[np.int64]]) -> str:
    return " ".join(
        f"{100 * e.value:.1f}" for e in _estimates([c[None] for c in counts], score_estimate)
    )


def _points(estimate: Estimate, sign: str = "") -> str:
    ends = estimate.interval
    interval = f"({100 * ends.low:+.1f} to {100 * ends.high:+.1f})" if ends else "(none)"
    return f"{100 * estimate.value:{sign}.1f} {interval}"


if __name__ == "__main__":
    main()
