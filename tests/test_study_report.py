"""The report of a study: the page, its tables and figures, and the numbers that come back."""

import re
from dataclasses import replace
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import make_sections
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_report import Page

from ser_generalize.benchmark.findings import best_findings
from ser_generalize.benchmark.folder import RESULTS
from ser_generalize.benchmark.pictures import draw
from ser_generalize.benchmark.report import write_report
from ser_generalize.benchmark.results import read_rows, section_rows, write_rows
from ser_generalize.benchmark.sections import (
    DIFFERENCE,
    ROW_SCHEMA,
    Figure,
    Kind,
    Row,
    Section,
    Table,
)
from ser_generalize.benchmark.tables import latex, markdown
from ser_generalize.errors import InputError
from ser_generalize.statistics import MACRO_AVERAGE

HOSTILE = '<script>alert("x")</script> | $_& \\ #ffffff'
SECTIONS = make_sections.sections()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study") / "report"
    write_report(out, make_sections.study(), SECTIONS)
    return out


@pytest.fixture(scope="module")
def page(report: Path) -> str:
    return (report / "report.html").read_text(encoding="utf-8")


def table(rows: list[Row], **how: object) -> Table:
    return Table("t", "Title", "Caption.", rows, **how)  # type: ignore[arg-type]


# The page


def test_the_page_is_well_formed_and_loads_nothing(page: str) -> None:
    found = Page(page)
    assert found.seen.count("script") == 1 and "img" not in found.seen
    anchors = {link for link in found.links if link.startswith("#")}
    used = anchors | set(re.findall(r"url\((#\w+)\)", page))
    assert used <= {f"#{name}" for name in found.ids}
    assert set(found.links) - anchors == {"data:,"}
    assert len(found.ids) == len(set(found.ids))
    assert "http" not in page.replace("http-equiv", "")
    assert "default-src 'none'" in page


def test_the_page_opens_with_the_findings_that_the_numbers_support_best(page: str) -> None:
    text = " ".join(Page(page).text.split())
    first = [finding.text for finding in best_findings(SECTIONS)]
    assert len(first) == 3
    places = [text.index(sentence) for sentence in first]
    assert places == sorted(places) and places[-1] < text.index("Contents")


def test_every_number_stands_with_its_interval_its_n_and_its_protocol(page: str) -> None:
    text = " ".join(Page(page).text.split())
    lines = [re.sub("<[^>]*>", " ", line) for line in re.findall("<tr.*?</tr>", page, re.DOTALL)]
    found = {tuple(" ".join(line.split()).split()) for line in lines}
    for row in section_rows(SECTIONS):
        if row.kind != DIFFERENCE and row.metric == "uar" and row.table != "cross":
            ends = (
                ["none"] if row.low is None else [f"{100 * row.low:.1f}", f"{100 * row.high:.1f}"]
            )
            said = {f"{100 * row.value:.1f}", *ends, f"{row.clips:,}", str(row.speakers)}
            assert any(said <= {*line} for line in found), row
    assert text.count("Protocol") >= sum(bool(t.rows) for s in SECTIONS for t in s.tables)
    for words in (
        "random (leaks speaker, session, text)",
        "Test speakers are also in the training part",
        "speaker-adapted",
        "no interval: 2 known speakers, at least 4 are needed",
        "the cells of 3 levels are not finished",
        "leave one corpus out: every corpus is tested by a model trained on the others",
        "ser-generalize benchmark --dataset data --embeddings whisper-base",
        "10,000 resamples",
    ):
        assert words.lower() in text.lower(), words


def test_figures_have_a_table_of_their_numbers(page: str) -> None:
    assert page.count('role="img"') == 7  # the one without a number is not drawn
    assert "UAR over the number of training corpora" in page
    assert "corpora=5" in page  # of a figure whose rows are in no table


def test_colours_follow_the_theme(page: str) -> None:
    drawings = re.findall(r"<svg class=.drawing.*?</svg>", page, re.DOTALL)
    assert drawings
    for drawing in drawings:
        assert set(re.findall(r"#[0-9a-f]{6}\b", drawing)) == set()


def test_everything_is_escaped(tmp_path: Path) -> None:
    rows = [replace(row, encoder=HOSTILE, note=HOSTILE) for row in SECTIONS[0].tables[0].rows]
    hostile = replace(
        SECTIONS[0], title=HOSTILE, question=HOSTILE, findings=[HOSTILE], notes=[HOSTILE],
        tables=[Table("t", HOSTILE, HOSTILE, rows)],
        figures=[replace(SECTIONS[0].figures[0], title=HOSTILE, rows=rows, series="encoder")],
    )  # fmt: skip
    write_report(tmp_path / "out", make_sections.study(), [hostile])
    found = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert found.seen.count("script") == 1
    assert found.text.count(HOSTILE) > 5


# Figures

SETTINGS = st.sampled_from(["", "clips=5", "clips=20", "clips=all", "noise:-10", "size=3e7", "x"])
DRAWN = st.builds(
    Row, part=st.just("p"), table=st.just("t"), value=st.floats(-1, 1),
    corpus=st.sampled_from(["a", "b_$"]), sampler=st.sampled_from(["none", "smote"]),
    setting=SETTINGS, kind=st.sampled_from(["score", DIFFERENCE]), low=st.none() | st.just(-1.0),
    high=st.none() | st.just(1.0), chance=st.none() | st.just(0.25),
    metric=st.sampled_from(["uar", "mean rank", "memory (MB)"]),
)  # fmt: skip


@pytest.mark.parametrize("kind", sorted(get_args(Kind)))
@settings(max_examples=4, deadline=None)
@given(rows=st.lists(DRAWN, min_size=1, max_size=8))
def test_any_rows_can_be_drawn_and_the_svg_is_well_formed(kind: Kind, rows: list[Row]) -> None:
    svg, png = draw(Figure("f", kind, "Title", "", rows, limit=0.5))
    ElementTree.fromstring(svg)
    assert png.startswith(b"\x89PNG")


def test_a_figure_tells_series_apart_without_colour() -> None:
    rows = [Row("p", "t", 0.1 * k, "x", sampler=f"sampler{k}") for k in range(1, 7)]
    svg, _ = draw(Figure("f", "intervals", "Title", "", rows))
    marks = re.findall(r'<path id="(m\w+)" d="([^"]+)"', svg.decode())
    assert len({shape for _, shape in marks}) >= 6


# Tables


def test_a_table_shows_what_differs_in_it_though_nobody_asked() -> None:
    rows = [
        Row("p", "t", 0.5, "x", protocol="loso", clips=9, compared_with="smote base loso"),
        Row("p", "t", 0.7, "x", protocol="random", leaks="speaker", adapt="speaker-adapted"),
    ]
    text = markdown(table(rows))
    assert "| – | loso |" in text
    assert "| speaker-adapted | random (leaks speaker) |" in text
    assert "Tested on x." in text


def test_numbers_read_as_percent_and_points() -> None:
    rows = [
        Row("p", "t", 0.512, "x", low=0.4, high=0.6, chance=0.25, clips=1234, speakers=5),
        Row("p", "t", -0.03, "x", low=-0.05, high=-0.01, kind=DIFFERENCE, p=4e-4, p_adjusted=0.03),
        Row("p", "t", 2.5, "x", metric="mean rank"),
        Row("p", "t", 39_000_000, "x", metric="size (parameters)"),
    ]  # fmt: skip
    lines = markdown(table(rows)).splitlines()
    found = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line][2:]
    assert found[0] == ["x", "UAR, %", "51.2", "40.0 to 60.0", "–", "–", "1,234", "5"]
    assert "Chance 25.0 %." in lines
    assert found[1][1:6] == ["UAR, points", "−3.0", "−5.0 to −1.0", r"\<0.001", "0.03"]
    assert found[2][1:4] == ["Mean rank", "2.50", "none"]
    assert found[3][1:3] == ["Size (parameters)", "39,000,000"]


def test_metrics_of_one_result_share_a_line() -> None:
    rows = [
        Row("p", "t", value, corpus, metric=metric, low=value - 0.1, high=value + 0.1)
        for corpus in ("x", "y")
        for metric, value in (("uar", 0.5), ("macro_f1", 0.6))
    ]
    text = markdown(table(rows))
    assert "| Tested on | UAR, % | 95 % interval | Macro-F1, % |" in text
    assert "| x | 50.0 | 40.0 to 60.0 | 60.0 (50.0 to 70.0) |" in text
    apart = markdown(table([*rows, replace(rows[1], corpus="z")]))  # nothing for it to join
    assert "| z | Macro-F1, % | 60.0 | 50.0 to 70.0 |" in apart


def test_a_matrix_has_every_number_once_with_its_interval_and_n() -> None:
    cross = next(t for s in SECTIONS for t in s.tables if t.rows_by)
    lines = [line for line in markdown(cross).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 6 + 1
    assert sum(line.count(" to ") for line in lines) == 30 - 5  # tess has two speakers
    assert "4,900 clips, 91 speakers" in lines[-1]
    twice = replace(cross, rows=[*cross.rows, replace(cross.rows[0], sampler="smote")])
    assert len(markdown(twice).splitlines()) > 31  # a line a number: two would share a place


def test_latex_is_escaped_and_balanced() -> None:
    rows = [Row("p", "t", -0.1, HOSTILE, kind=DIFFERENCE, note="50 % & more")]
    text = latex(table(rows))
    body = re.sub(r"\\[&%$#_{}]", "", text)
    assert body.count("{") == body.count("}") and not re.search(r"[#_]", body)
    assert r"\toprule" in text and r"$-$10.0" in text and r"$<$script$>$" in text
    cells = next(line for line in text.splitlines() if line.endswith(r" \\"))
    spec = re.search(r"begin\{tabular\}\{(\w+)\}", text)
    assert spec and len(spec[1]) == len(re.split(r"(?<!\\)&", cells))


# Numbers

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FINITE = st.floats(-1, 1)
ROWS = st.builds(
    Row, part=TEXT, table=TEXT, value=FINITE, corpus=TEXT, setting=TEXT, note=TEXT,
    low=st.none() | FINITE, p=st.none() | FINITE, clips=st.integers(0, 2**40),
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(ROWS, max_size=4))
def test_rows_come_back_as_they_were(
    rows: list[Row], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rows") / RESULTS
    write_rows(path, rows)
    assert pq.read_schema(path).equals(ROW_SCHEMA)
    assert read_rows(path) == rows


def test_a_report_holds_every_row_once(report: Path) -> None:
    rows = read_rows(report / RESULTS)
    assert rows == section_rows(SECTIONS) and len(rows) == len(set(rows)) > 100


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no results file"):
        read_rows(tmp_path / "missing.parquet")
    (tmp_path / "a.parquet").write_text("no")
    with pytest.raises(InputError, match="is no results file"):
        read_rows(tmp_path / "a.parquet")
    pq.write_table(pa.table({"part": ["x"]}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match="its columns must be part, table, corpus"):
        read_rows(tmp_path / "b.parquet")


# The folder


def test_the_same_study_gives_the_same_bytes(report: Path, tmp_path: Path) -> None:
    write_report(tmp_path / "again", make_sections.study(), make_sections.sections())
    files = sorted(path.relative_to(report) for path in report.rglob("*") if path.is_file())
    assert {path.suffix for path in files} >= {".html", ".md", ".tex", ".svg", ".png", ".parquet"}
    for path in files:
        assert (report / path).read_bytes() == (tmp_path / "again" / path).read_bytes(), path


def test_a_report_is_replaced_whole_and_nothing_else_is(tmp_path: Path) -> None:
    out, study = tmp_path / "report", make_sections.study()
    write_report(out, study, SECTIONS)
    write_report(out, study, SECTIONS[-1:])
    assert not list(out.glob("figures/*"))
    with pytest.raises(ValueError, match="two of a report are named"):
        write_report(out, study, [SECTIONS[0], SECTIONS[0]])
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="holds other things"):
        write_report(out, study, SECTIONS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report"]
    assert len(read_rows(out / RESULTS)) == 0


def test_findings_are_ranked_by_how_sure_their_differences_are() -> None:
    def section(name: str, value: float, half: float, p: float | None = None) -> Section:
        row = Row("p", name, value, MACRO_AVERAGE, kind=DIFFERENCE, low=value - half,
                  high=value + half, p_adjusted=p)  # fmt: skip
        other = replace(row, corpus="tiny", value=0.9, low=0.89, high=0.91)
        told = f"about {name}: {100 * value:+.1f} ({100 * row.low:+.1f} to {100 * row.high:+.1f})"
        return Section("p", name, "?", ["first", told], [Table(name, "", "", [row, other])])

    told = [section("unsure", 0.1, 0.2), section("wide", 0.2, 0.1), section("sure", -0.2, 0.02),
            section("chance", 0.2, 0.001, p=0.3)]  # fmt: skip
    found = [(one.section.title, one.text[:5]) for one in best_findings(told)]
    assert found == [("sure", "about"), ("wide", "about"), ("unsure", "first")]
