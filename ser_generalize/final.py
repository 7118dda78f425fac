"""`train --final`: a checkpoint fitted on everybody, judged by the run in which nobody was."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ser_generalize import __version__
from ser_generalize.adapt import parse_adapt
from ser_generalize.calibration import RATE, Calibration, calibrate_predictions
from ser_generalize.cell import Cell
from ser_generalize.checkpoint import StoreEncoder, read_encoder, save_checkpoint
from ser_generalize.configuration import CONCATENATED, SUMMED, SerConfig
from ser_generalize.data import Data, read_data, read_features
from ser_generalize.encoder.device import find_device
from ser_generalize.errors import InputError, listing
from ser_generalize.figures import draw_reliability, save
from ser_generalize.files import staged, write_text, writing
from ser_generalize.groups import Material, Task, train_heads
from ser_generalize.heads import BOTH, parse_head
from ser_generalize.hub import is_hub_id
from ser_generalize.launch import single_threads
from ser_generalize.model_card import EVAL_RESULTS, eval_results, render_model_card
from ser_generalize.modeling import SerForAudioClassification
from ser_generalize.predictions import PLAIN
from ser_generalize.protocols import PROTOCOLS, UNION, Fold
from ser_generalize.summary import Run, read_runs
from ser_generalize.tuning.folds import TUNING, Setup, make_tuner
from ser_generalize.tuning.model import merged

CHECKPOINT, CARD, PICTURE = "checkpoint", "README.md", "reliability.png"
EVERYBODY = "everybody"  # the fold of the checkpoint
SEED = 0


@dataclass(frozen=True)
class Final:
    """What a checkpoint is made of, found before its cell is run."""

    cell: Cell
    data: Data
    encoder: StoreEncoder
    rate: float  # of errors among what it answers


def plan_final(cell: Cell, encoder: str | None = None, rate: float = RATE) -> Final:
    """Check that a cell can become a checkpoint; raise InputError before hours of training.

    `encoder` is the folder or Hub id of the Whisper that the embeddings were made with, by default
    what their store calls it.
    """
    cell.check()
    if cell.layers or cell.pooling != BOTH:
        raise InputError(
            "--final: a checkpoint uses all layers of its store, mean and std; leave out --layers "
            "and --pooling, or make a store with `embed --layers`"
        )
    if not 0 < rate < 1:
        raise InputError(f"--error-rate {rate:g} is no share of answers; give one in (0, 1)")
    if cell.test_embeddings:
        raise InputError(
            "--final: a card tells of recordings as they are; leave out --test-embeddings"
        )
    protocol = PROTOCOLS[cell.protocol]
    if "speaker" in protocol.leaks or UNION not in protocol.train_on:
        able = [name for name, one in PROTOCOLS.items()
                if "speaker" not in one.leaks and UNION in one.train_on]  # fmt: skip
        raise InputError(
            f"--final: protocol {cell.protocol} does not judge, for new voices, a head fitted on "
            f"everybody; choose one of: {', '.join(able)}"
        )
    adaptation = parse_adapt(cell.adapt)
    if adaptation.by != PLAIN and adaptation.clips is None:
        other = "give speaker:0, judged without any, or speaker:5"
        if parse_head(cell.head) is None:
            other = f"leave out --adapt, which a checkpoint with --head {cell.head} does not know"
        raise InputError(
            f"--final: with --adapt {cell.adapt} the folds know all clips of whom they test, and "
            f"whoever uses a checkpoint does not; {other}"
        )
    data = read_data(cell)
    corpora = sorted(set(data.clips["corpus"]))
    if len(corpora) > 1 and cell.train_on != UNION:
        raise InputError(
            f"--final fits one head on {listing(corpora)} together, which the cross-validation has "
            "to judge: add --train-on union, or --corpora NAME for one of them"
        )
    return Final(cell, data, read_encoder(data.store, encoder), rate)


def write_final(final: Final, run_folder: Path, setup: Setup = Setup()) -> Path:  # noqa: B008 # is frozen
    """Fit on every clip of a finished run's cell and write RUN/checkpoint/; return that folder.

    Epochs are the median best over the folds; temperature, abstention and the card's figures come
    from the run's predictions, whose speakers no head had heard. `setup` is for fine-tuning.
    """
    (run,) = read_runs([run_folder])
    calibration = calibrate_predictions(run.predictions, final.rate)
    config = _config(final, run, calibration)
    with single_threads(1) as pool:  # on one thread, which gives the same bits
        model = pool.submit(_fit, final, run, config, run_folder / TUNING, setup).result()
    folder = run_folder / CHECKPOINT
    with writing(f"checkpoint {folder} cannot be written"), staged(folder) as temporary:
        save_checkpoint(temporary, model)
        write_text(temporary / CARD, render_model_card(run, calibration, config.training))
        if results := eval_results(run, config.training):
            write_text(temporary / EVAL_RESULTS, results)
        save(lambda: draw_reliability(run), temporary / PICTURE)
    return folder


def _fit(
    final: Final, run: Run, config: SerConfig, folder: Path, setup: Setup
) -> SerForAudioClassification:
    """Train on every clip as the folds were: a head, and with it the encoder where it paid."""
    cell = replace(final.cell, stop="fixed")
    features = read_features(cell, final.data)
    material = Material(cell, final.data, features, find_device(None))
    rows = np.arange(len(final.data.labels))
    task = Task(0, Fold(EVERYBODY, train=rows, test=rows[:0]), SEED)
    job, _ = material.job(task)
    recipe = replace(cell.recipe, until=run.about.epochs)
    if not run.about.tune_epochs:
        (head,) = train_heads(material, [job], recipe)
        return final.encoder.model(config, head.parameters)
    tuner = make_tuner(material, setup, folder / EVERYBODY)
    tuned = replace(cell.tune_recipe, until=run.about.tune_epochs)
    tuning, _ = tuner.tune(task, job, tuned, recipe)
    model = merged(tuning.model.cpu())
    model.config = config
    tuner.finish(task, tuning)
    return model


def _config(final: Final, run: Run, calibration: Calibration) -> SerConfig:
    data, abstention, hidden = final.data, calibration.abstention, parse_head(final.cell.head)
    return final.encoder.config(
        hidden_sizes=list(hidden or ()),
        combine=CONCATENATED if hidden is None else SUMMED,
        # The folds' logits were divided by their own temperatures, those of this head are not.
        calibration=calibration.temperature * run.about.temperature,
        abstain_below=abstention.below if abstention else None,
        id2label=dict(enumerate(data.classes)),
        label2id={name: number for number, name in enumerate(data.classes)},
        training=_training(final, run),
    )


def _training(final: Final, run: Run) -> dict[str, Any]:
    """Return what a checkpoint says of itself: its card and `push` read nothing else."""
    cell, data, store = final.cell, final.data, final.data.store
    local = Path(cell.dataset).exists() or not is_hub_id(cell.dataset)
    return {
        "version": __version__,
        "run": run.about.run,
        "encoder": store.encoder,
        "encoder_revision": store.revision,
        "all_layers": list(store.layers) == list(range(final.encoder.sizes["encoder_layers"] + 1)),
        "dataset": data.fingerprint,
        "dataset_id": None if local else cell.dataset,
        "protocol": cell.protocol,
        "labels": cell.labels,
        "labels_from": cell.labels_from,
        "alternatives": sorted(cell.alternatives),
        "sampler": cell.sampler,
        "loss": cell.loss,
        "augmented": list(data.augmented),
        "adapt": run.about.adapt,
        "head": cell.head,
        "epochs": run.about.epochs,
        "tune": cell.tune,
        "tune_epochs": run.about.tune_epochs,
        "error_rate": final.rate,
        "corpora": {name: _held(data, name) for name in sorted(set(data.column("corpus")))},
    }


def _held(data: Data, corpus: str) -> dict[str, Any]:
    rows = data.column("corpus") == corpus

    def distinct(name: str) -> Sequence[str]:
        return sorted(set(data.column(name)[rows]) - {None})

    return {
        "clips": int(rows.sum()),
        "speakers": len(distinct("speaker")),
        "languages": distinct("language"),
        "elicitation": distinct("elicitation"),
        "licences": distinct("licence"),
    }
