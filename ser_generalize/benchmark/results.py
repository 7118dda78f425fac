"""`results.parquet`: every number of a report, a row each, for the Space and other studies."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ser_generalize.benchmark.sections import ROW_SCHEMA, Row, Section
from ser_generalize.errors import InputError


def section_rows(sections: Iterable[Section]) -> list[Row]:
    """Return the rows of all tables and figures, each once, in the order of the page."""
    found: dict[Row, None] = {}  # a dictionary keeps the order
    for section in sections:
        for table in section.tables:
            found.update(dict.fromkeys(table.rows))
        for figure in section.figures:
            found.update(dict.fromkeys(figure.rows))
    return list(found)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows in the form of ROW_SCHEMA; the same rows always give the same bytes."""
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=ROW_SCHEMA)
    pq.write_table(table, path, compression="zstd")


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a report; InputError where the file is missing or is something else."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is no results file of a report ({error})") from error
    if not table.schema.equals(ROW_SCHEMA):
        raise InputError(
            f"{path} is no results file of a report of this version: its columns must be "
            f"{', '.join(ROW_SCHEMA.names)}"
        )
    return [Row(**row) for row in table.to_pylist()]
