"""`ser-generalize benchmark`: what it takes to generalise, asked part by part, in one report.

The same as `accelerate launch -m ser_generalize.benchmark` and `torchrun -m ...`: the processes
share the work. A study that was killed goes on with the same command.
"""

from collections.abc import Sequence
from pathlib import Path

from ser_generalize.command import CommandParser

EXAMPLE = "ser-generalize benchmark --dataset data --embeddings embeddings --out study"


def parser() -> CommandParser:
    """Return the command's parser; its choices are checked where they are used."""
    command = CommandParser(
        "ser-generalize benchmark",
        "Run the study, cell by cell, and write its report. What is done is not done again.",
        EXAMPLE,
    )
    add = command.add_argument
    add("--dataset", required=True, help="Hub id, or a folder made by `build`")
    add(
        "--embeddings",
        required=True,
        nargs="+",
        metavar="DIR",
        help="stores made by `embed`, or their Hub ids; the first is used where features are not "
        "the question",
    )
    add("--only", nargs="+", default=(), metavar="PART", help="these parts of the study only")
    add("--corpora", nargs="+", default=(), metavar="C", help="only these corpora, in any language")
    add(
        "--languages",
        nargs="+",
        default=(),
        metavar="L",
        help="only these, e.g. en de; or all (default: en, unless corpora are named)",
    )
    add(
        "--head",
        default="128",
        help="hidden sizes, e.g. 4096,2048,1024,512 (the paper's); lda or logistic (default: 128)",
    )
    add("--seeds", type=int, default=1, metavar="N", help="train every fold N times (default: 1)")
    add(
        "--budget",
        type=float,
        default=60.0,
        metavar="MINUTES",
        help="train on every set of corpora only if that takes less, else on a sample (default: "
        "60)",
    )
    add("--report-only", action="store_true", help="train nothing, report what is finished")
    add("--out", type=Path, required=True, help="folder to write or to complete")
    return command


def main(argv: Sequence[str]) -> None:
    """Parse the command line and run the study."""
    arguments = parser().parse_args(argv)
    from ser_generalize.benchmark.answer import run_study
    from ser_generalize.benchmark.registry import find_parts
    from ser_generalize.benchmark.study import Asked  # torch takes seconds to import

    parts = find_parts(arguments.only)
    asked = Asked(
        dataset=arguments.dataset,
        embeddings=arguments.embeddings,
        corpora=arguments.corpora,
        languages=arguments.languages,
        head=arguments.head,
        seeds=arguments.seeds,
        budget=arguments.budget,
    )
    run_study(asked, parts, arguments.out, arguments.report_only)
