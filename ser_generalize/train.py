"""`ser-generalize train`: folds of a protocol, resampled, trained and predicted, in one run folder.

The same as `accelerate launch -m ser_generalize.train` and `torchrun -m ser_generalize.train`: the
processes share out the folds, and every launch gives the same predictions.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from ser_generalize.command import CommandParser, is_first_process, run_command
from ser_generalize.errors import one_of
from ser_generalize.labels import ACTED, ALTERNATIVES, LABEL_SETS
from ser_generalize.protocols import PROTOCOLS

EXAMPLE = (
    "ser-generalize train --dataset data --embeddings embeddings --protocol loso "
    "--labels four --sampler smote --out runs/smote"
)
SAMPLERS = (
    "none (default), under, over, smote, borderline, adasyn, smote-per-corpus; or what every batch "
    "is made of: balanced (as many clips of each class), mixup (mixed clips of any class)"
)


def parser() -> CommandParser:
    """Return the command's parser; its choices are checked where they are used."""
    command = CommandParser(
        "ser-generalize train",
        "Train and score a head on speakers it never heard, fold by fold.",
        EXAMPLE,
    )
    add = command.add_argument
    add("--dataset", required=True, help="Hub id, or a folder made by `build`")
    add("--embeddings", required=True, help="store made by `ser-generalize embed`, or its Hub id")
    add("--out", type=Path, required=True, help="run folder to write or to complete")
    _add_features(command)
    _add_folds(command)
    _add_labels(command)
    _add_head(command)
    _add_final(command)
    _add_tuning(command)
    return command


def _add_features(command: CommandParser) -> None:
    add = command.add_argument_group("features").add_argument
    add(
        "--test-embeddings",
        metavar="DIR",
        help="store of the same clips made with `embed --degrade`: train on --embeddings, test on "
        "these",
    )
    add(
        "--augment",
        nargs="+",
        default=(),
        metavar="STORE",
        help="stores of the same clips made with `embed --degrade`: train on these copies half of "
        "the time",
    )
    add("--layers", nargs="+", type=int, default=(), metavar="N", help="only these of the store")
    add("--pooling", default="both", help="of every layer's frames: mean, std or both (default)")
    add(
        "--adapt",
        default="none",
        metavar="A",
        help="whose clips standardise the features: none, the training part's (default); corpus or "
        "speaker, each by all of its own unlabelled clips, test clips included; speaker:5, by 5 "
        "clips of a test speaker",
    )


def _add_folds(command: CommandParser) -> None:
    add = command.add_argument_group("clips and folds").add_argument
    add("--protocol", default="loso", help=f"{', '.join(PROTOCOLS)} (default: loso)")
    add(
        "--train-on",
        help="each corpus by itself (default), their union, or matched: as many clips of the union "
        "as of each",
    )
    add("--corpora", nargs="+", metavar="C", help="only these corpora")
    add(
        "--languages",
        nargs="+",
        metavar="L",
        help="only these, e.g. en de; or all. Default: en where corpora meet and none is named",
    )


def _add_labels(command: CommandParser) -> None:
    add = command.add_argument_group("labels").add_argument
    add("--labels", default="four", help=f"{', '.join(LABEL_SETS)} or native (default: four)")
    add(
        "--labels-from",
        default=ACTED,
        metavar="SOURCE",
        help="acted: the corpus's own label (default); votes: the emotion that most raters chose",
    )
    add(
        "--label-map",
        nargs="+",
        default=(),
        metavar="M",
        help=f"disputed mappings to decide the other way: {', '.join(ALTERNATIVES)}",
    )


def _add_head(command: CommandParser) -> None:
    add = command.add_argument_group("head and its training").add_argument
    add("--sampler", default="none", metavar="S", help=SAMPLERS)
    add(
        "--head",
        default="128",
        help="hidden sizes, e.g. 4096,2048,1024,512 (the paper's); lda or logistic (default: 128)",
    )
    add("--loss", default="ce", help="ce (default), weighted by class, or focal")
    add(
        "--stop",
        help="fixed: all epochs, on all training speakers (default); early (default with --tune): "
        "validation speakers, kept out of training, choose the epoch and the temperature",
    )
    add("--seeds", type=int, default=1, metavar="N", help="train every fold N times (default: 1)")
    add(
        "--dtype",
        default="fp32",
        help="fp32 (default), or bf16: products in bfloat16, faster where the device has it",
    )


def _add_final(command: CommandParser) -> None:
    add = command.add_argument_group("checkpoint").add_argument
    add(
        "--final",
        action="store_true",
        help="then fit on everybody and write RUN/checkpoint, which `predict` and `push` take",
    )
    add(
        "--encoder",
        metavar="E",
        help="for --final and --tune: the Whisper of the embeddings (default: what their store "
        "calls it)",
    )
    add(
        "--error-rate",
        type=float,
        default=0.1,
        metavar="R",
        help="for --final: say `not sure` rather than err in more of the answers (default: 0.1)",
    )


def _add_tuning(command: CommandParser) -> None:
    add = command.add_argument_group("fine-tuning").add_argument
    add(
        "--tune",
        default="none",
        help="full: then train Whisper and the head together; lora: adapters in it and the head",
    )
    add("--tune-epochs", type=int, metavar="N", help="of --tune, at most (default: 3)")
    add(
        "--micro-batch",
        type=int,
        default=8,
        metavar="N",
        help="clips that a device holds at a time; gradients are summed over a step (default: 8)",
    )
    add("--gradient-checkpointing", action="store_true", help="less memory, more time")
    add("--report-to", metavar="TRACKER", help="tensorboard, trackio or wandb")


def main(argv: Sequence[str]) -> None:
    """Parse the command line and run."""
    arguments = parser().parse_args(argv)
    from ser_generalize.embeddings import find_store
    from ser_generalize.experiment import Cell, Setup, run_cell  # torch takes seconds to import

    protocol = one_of("protocol", arguments.protocol, PROTOCOLS)
    tested = arguments.test_embeddings
    cell = Cell(
        dataset=arguments.dataset,
        embeddings=find_store(arguments.embeddings),
        test_embeddings=tested and find_store(tested),
        augment=tuple(map(find_store, arguments.augment)),
        layers=tuple(arguments.layers),
        pooling=arguments.pooling,
        protocol=protocol,
        labels=arguments.labels,
        labels_from=arguments.labels_from,
        alternatives=tuple(arguments.label_map),
        sampler=arguments.sampler,
        head=arguments.head,
        dtype=arguments.dtype,
        loss=arguments.loss,
        stop=arguments.stop or ("fixed" if arguments.tune == "none" else "early"),
        adapt=arguments.adapt,
        seeds=arguments.seeds,
        corpora=tuple(arguments.corpora or ()),
        languages=tuple(arguments.languages or ()),
        train_on=arguments.train_on or PROTOCOLS[protocol].train_on[0],
        tune=arguments.tune,
        tune_epochs=arguments.tune_epochs,
    )
    setup = Setup(
        arguments.encoder,
        arguments.micro_batch,
        arguments.gradient_checkpointing,
        arguments.report_to,
    )
    if not arguments.final:
        run_cell(cell, arguments.out, setup)
        return
    from ser_generalize.final import plan_final, write_final

    final = plan_final(cell, arguments.encoder, arguments.error_rate)
    run_cell(cell, arguments.out, setup)
    if is_first_process():  # of a launch, which has ended by now
        print(f"train: checkpoint of everybody in {write_final(final, arguments.out, setup)}")


if __name__ == "__main__":
    sys.exit(run_command("ser-generalize train", main, sys.argv[1:]))
