"""What a visitor looks at in a finished report: a leaderboard and two comparisons, of one choice.

A choice names one protocol, label set and adaptation, so that results which answer different
questions are never ranked together. Messages name no path: they are shown to strangers.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # httpx's or httpx2's

from ser_generalize.benchmark.folder import RESULTS
from ser_generalize.benchmark.sections import DIFFERENCE, POOLED, ROW_SCHEMA, SCORE, Row
from ser_generalize.errors import InputError, listing, silenced
from ser_generalize.hub import is_hub_id
from ser_generalize.predictions import PLAIN
from ser_generalize.protocols import EACH, UNION
from ser_generalize.statistics import MACRO_AVERAGE

MOST_ROWS = 1_000_000  # the study of every subset of eleven corpora has some 30,000
LOSO, CROSS, RANDOM = "loso", "cross", "random"
ALL = ""  # of a menu: whatever it is
AVERAGES = (MACRO_AVERAGE, POOLED)
ITSELF = ("", EACH)  # what a corpus was trained on, where it is no other corpus

System = tuple[str, str, str, str]  # encoder, window, sampler, head


@dataclass(frozen=True)
class Choice:
    """One protocol, label set and adaptation; a corpus and an encoder, or all of them."""

    protocol: str
    label_set: str
    adapt: str
    corpus: str = ALL
    encoder: str = ALL

    def keeps(self, row: Row) -> bool:
        """Return whether a row answers this choice's question, whatever its protocol."""
        return (
            (row.label_set, row.adapt) == (self.label_set, self.adapt)
            and self.corpus in (ALL, row.corpus)
            and self.encoder in (ALL, row.encoder)
        )


@dataclass(frozen=True)
class Ranking:
    """The scores on one corpus, the best first."""

    corpus: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Matrix:
    """The scores of one system by what it was trained on and what it was tested on.

    On the diagonal stands the corpus itself, with its speakers apart.
    """

    rows: Sequence[Row]  # of one system, each pair of corpora once

    @property
    def cells(self) -> dict[tuple[str, str], Row]:
        """The rows by training and tested corpus."""
        return {_pair(row): row for row in self.rows}

    @property
    def trained(self) -> list[str]:
        """The corpora that were trained on, sorted."""
        return sorted({trained for trained, _ in self.cells})

    @property
    def tested(self) -> list[str]:
        """The corpora that were tested, sorted."""
        return sorted({tested for _, tested in self.cells})

    @property
    def elsewhere(self) -> list[Row]:
        """The scores on other corpora than the one trained on, the best first."""
        return sorted((row for row in self.rows if row.protocol == CROSS), key=_best_first)


@dataclass(frozen=True)
class Leak:
    """A corpus scored on new voices and on a random split, by the same system."""

    honest: Row
    random: Row
    difference: Row | None  # with its interval, where the report tested it

    @property
    def value(self) -> float:
        """What the random split adds, a difference of shares."""
        return self.random.value - self.honest.value


def find_report(source: str) -> Path:
    """Return the Parquet file of a report: in a local folder, or a dataset ORG/NAME of the Hub.

    Raises InputError where there is none.
    """
    if Path(source).is_dir() or not is_hub_id(source):
        file = Path(source) / RESULTS
        if not file.is_file():
            raise InputError(f"the report's folder holds no {RESULTS}")
        return file
    try:
        with silenced("huggingface_hub"):
            return Path(hf_hub_download(source, RESULTS, repo_type="dataset"))
    except (HTTPError, OSError, ValueError) as error:
        raise InputError(
            f"the Hub does not give {RESULTS} of the dataset {source}: it is missing, private or "
            f"out of reach ({type(error).__name__})"
        ) from error


def read_uar(file: Path) -> tuple[Row, ...]:
    """Return a report's rows of UAR, scores and differences.

    Raises InputError for a file that is no report of this package.
    """
    return _read_uar(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read_uar(file: Path, _changed: int) -> tuple[Row, ...]:
    table = _read_table(file)
    values = table.column("value").to_pylist()
    odd = [value for value in values if value is None or not -1 <= value <= 1]
    if odd:
        raise _foreign(f"{len(odd)} of {len(values)} UARs are no shares, such as {odd[0]}")
    rows = (Row(**values) for values in table.to_pylist())
    return tuple(row for row in rows if row.kind in (SCORE, DIFFERENCE))


def _read_table(file: Path) -> pa.Table:
    try:
        parquet = pq.ParquetFile(file)
        if parquet.metadata.num_rows > MOST_ROWS:
            raise _foreign(f"it has {parquet.metadata.num_rows:,} rows")
        if missing := set(ROW_SCHEMA.names) - set(parquet.schema_arrow.names):
            raise _foreign(f"it lacks the columns {listing(sorted(missing))}")
        table = parquet.read(ROW_SCHEMA.names).cast(ROW_SCHEMA)
    except (pa.ArrowException, OSError) as error:
        raise _foreign("it is no Parquet file, or its columns hold something else") from error
    return _filled(table).filter(pc.field("metric") == "uar")


def _filled(table: pa.Table) -> pa.Table:
    """Give every text a value: what does not apply may be null, and plain may be unsaid."""
    defaults: dict[str, str | int] = {
        field.name: "" for field in ROW_SCHEMA if field.type == "string"
    }
    defaults |= {"clips": 0, "speakers": 0}
    for name, default in defaults.items():
        at = ROW_SCHEMA.get_field_index(name)
        table = table.set_column(at, ROW_SCHEMA.field(at), pc.fill_null(table[name], default))
    at = ROW_SCHEMA.get_field_index("adapt")
    plain = pc.if_else(pc.equal(table["adapt"], ""), PLAIN, table["adapt"])
    return table.set_column(at, ROW_SCHEMA.field(at), plain)


def _foreign(reason: str) -> InputError:
    return InputError(f"the file {RESULTS} is no report of this package: {reason}")


def scores(rows: Iterable[Row], choice: Choice, protocol: str) -> list[Row]:
    """Return the scores under a protocol, each once: parts of a study share cells."""
    found: dict[tuple[str, ...], Row] = {}
    for row in rows:
        if row.kind == SCORE and row.protocol == protocol and not row.setting and choice.keeps(row):
            found.setdefault(_cell(row), row)
    return list(found.values())


def leaderboard(rows: Iterable[Row], choice: Choice) -> list[Ranking]:
    """Return the rankings of the choice's protocol: averages over corpora first, then by name."""
    by_corpus = defaultdict(list)
    for row in scores(rows, choice, choice.protocol):
        by_corpus[row.corpus].append(row)
    return [
        Ranking(corpus, sorted(by_corpus[corpus], key=_best_first))
        for corpus in sorted(by_corpus, key=in_order)
    ]


def matrices(rows: Sequence[Row], choice: Choice) -> list[Matrix]:
    """Return a matrix per system that was tested across corpora, the best system first."""
    by_system = defaultdict(list)
    for row in (*scores(rows, choice, CROSS), *scores(rows, choice, LOSO)):
        trained, tested = _pair(row)
        if (
            tested not in AVERAGES
            and trained != UNION
            and (trained == tested) == (row.protocol == LOSO)
        ):
            by_system[system(row)].append(row)
    found = [matrix for rows in by_system.values() if (matrix := Matrix(rows)).elsewhere]
    return sorted(found, key=lambda matrix: -_mean(matrix.elsewhere))


def leaks(rows: Sequence[Row], choice: Choice) -> list[list[Leak]]:
    """Return, per system, what random splits add to each corpus, the largest first."""
    honest = {_cell(row): row for row in scores(rows, choice, LOSO)}
    differences = {
        _cell(row): row
        for row in rows
        if row.kind == DIFFERENCE and row.protocol == RANDOM
        if choice.keeps(row) and not row.setting
    }
    by_system = defaultdict(list)
    for row in scores(rows, choice, RANDOM):
        if other := honest.get(_cell(row)):
            by_system[system(row)].append(Leak(other, row, differences.get(_cell(row))))
    return [sorted(found, key=lambda leak: -leak.value) for found in by_system.values()]


def system(row: Row) -> System:
    """Return what was trained, beside what it was trained on."""
    return row.encoder, row.window, row.sampler, row.head


def in_order(name: str) -> tuple[int, str]:
    """Sort what readers look for first to the front: averages, then names."""
    first = [*AVERAGES, LOSO, "four", PLAIN]
    return (first.index(name) if name in first else len(first)), name


def _cell(row: Row) -> tuple[str, ...]:
    return *_pair(row), *system(row)


def _pair(row: Row) -> tuple[str, str]:
    """Return the corpora that were trained on and tested."""
    return (row.corpus if row.trained_on in ITSELF else row.trained_on), row.corpus


def _best_first(row: Row) -> float:
    return -row.value


def _mean(rows: Sequence[Row]) -> float:
    return sum(row.value for row in rows) / len(rows)
