"""What one neighbour graph for all folds saves: SMOTE of a cell against imbalanced-learn per fold.

    python tests/benchmarks/smote_cost.py
    python tests/benchmarks/smote_cost.py --sampler borderline

Fabricated clips, 24 folds that leave one speaker out each, both sides in one run and compared row
by row. `--one-thread` counts processor time, for a machine that is busy with other work.
"""

import argparse
import os
import time

import numpy as np
from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE
from threadpoolctl import threadpool_limits

from ser_generalize.neighbours import Neighbours
from ser_generalize.resampling import resample

THEIRS = {"smote": SMOTE, "borderline": BorderlineSMOTE, "adasyn": ADASYN}
SHARES = (0.36, 0.23, 0.23, 0.18)  # neutral, angry, happy, sad in the union of eleven corpora


def main() -> None:
    """Resample every fold both ways and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sampler", default="smote", choices=sorted(THEIRS))
    parser.add_argument("--clips", type=int, default=12_000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--speakers", type=int, default=24)
    parser.add_argument("--one-thread", action="store_true")
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    labels = generator.choice(len(SHARES), arguments.clips, p=SHARES)
    speaker = generator.integers(0, arguments.speakers, arguments.clips)
    voices = generator.normal(size=(arguments.speakers, arguments.features))
    space = generator.normal(size=(arguments.clips, arguments.features)) + voices[speaker]
    space = (space + 0.2 * labels[:, None]).astype(np.float32)
    clock = time.process_time if arguments.one_thread else time.perf_counter
    ours = theirs = 0.0
    print(f"load {os.getloadavg()[0]:.1f}, {arguments.clips} clips of {arguments.features}")
    with threadpool_limits(1 if arguments.one_thread else None):
        start = clock()
        neighbours = Neighbours(space, labels)
        ours += clock() - start
        for fold in range(arguments.speakers):
            rows = np.flatnonzero(speaker != fold)
            start = clock()
            mixture, _ = resample(arguments.sampler, neighbours, rows, seed=fold)
            ours += clock() - start
            sampler = THEIRS[arguments.sampler](random_state=fold)
            start = clock()
            expected, classes = sampler.fit_resample(space[rows], labels[rows])
            theirs += clock() - start
            np.testing.assert_array_equal(mixture.label, classes)
            np.testing.assert_allclose(mixture.of(space), expected, rtol=0, atol=1e-5)
    print(
        f"{arguments.sampler}, {arguments.speakers} folds: {theirs:.1f} s with imbalanced-learn "
        f"per fold, {ours:.1f} s with shared neighbours, {theirs / ours:.1f} times as fast; all "
        "rows equal"
    )


if __name__ == "__main__":
    main()
