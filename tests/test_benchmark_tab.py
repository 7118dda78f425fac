"""The Benchmark tab: what of a report is shown beside what, and what is said without one."""

import math
from dataclasses import asdict, replace
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import Hub
from huggingface_hub import HfApi
from make_results import EASE, PLAIN_ROW, study, write_results

from ser_generalize.benchmark.boards import (
    Choice,
    find_report,
    leaderboard,
    leaks,
    matrices,
    read_uar,
)
from ser_generalize.benchmark.sections import DIFFERENCE, ROW_SCHEMA, Row
from ser_generalize.errors import InputError
from ser_generalize.statistics import MACRO_AVERAGE

gr = pytest.importorskip("gradio", reason="the Space needs gradio: pip install .[space]")

from benchmark_tab import benchmark_tab, menus_of, opened, render_boards  # noqa: E402

ROWS = study()
PLAIN = Choice("loso", "four", "none")


class Page(HTMLParser):
    """The elements and the visible text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._texts: list[str] = []
        self._styled = False
        self.feed(html)
        self.text = " ".join(" ".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._styled = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._styled = False

    def handle_data(self, data: str) -> None:
        self._texts += [] if self._styled else [data]


def shown(rows: list[Row], choice: Choice) -> str:
    return Page(render_boards(rows, choice)).text


def of(rows: list[Row], **wanted: str) -> list[Row]:
    return [row for row in rows if all(getattr(row, k) == v for k, v in wanted.items())]


def test_no_choice_mixes_what_answers_different_questions() -> None:
    menus = [[value for _, value in menu] for menu in menus_of(ROWS)]
    for choice in (Choice(*values) for values in product(*menus)):
        ranked = [row for ranking in leaderboard(ROWS, choice) for row in ranking.rows]
        pairs = [row for matrix in matrices(ROWS, choice) for row in matrix.rows]
        ends = [
            end
            for found in leaks(ROWS, choice)
            for one in found
            for end in (one.honest, one.random)
        ]
        assert {row.protocol for row in ranked} <= {choice.protocol}
        for row in (*ranked, *pairs, *ends):
            assert (row.label_set, row.adapt) == (choice.label_set, choice.adapt)
            assert choice.corpus in ("", row.corpus)
            assert choice.encoder in ("", row.encoder)


def test_the_first_choice_is_plain_and_leaks_nothing() -> None:
    assert [menu[0][1] for menu in menus_of(ROWS)] == ["loso", "four", "none", "", ""]


def test_averages_come_first_and_the_best_system_leads() -> None:
    rankings = leaderboard(ROWS, PLAIN)
    assert [ranking.corpus for ranking in rankings] == [MACRO_AVERAGE, *sorted(EASE)]
    for ranking in rankings:
        values = [row.value for row in ranking.rows]
        assert values == sorted(values, reverse=True)
        expected = of(ROWS, corpus=ranking.corpus, protocol="loso", adapt="none")
        assert sorted(values) == sorted(row.value for row in expected)


def test_a_cell_that_two_parts_share_is_ranked_once() -> None:
    again = [replace(PLAIN_ROW, part=part, table=part) for part in ("grid", "adaptation")]
    (ranking,) = leaderboard(again, PLAIN)
    assert [row.part for row in ranking.rows] == ["grid"]


def test_groups_and_degradations_are_no_entries_of_the_leaderboard() -> None:
    parts = [
        replace(PLAIN_ROW, setting=setting, value=0.9) for setting in ("sex=female", "noise:10")
    ]
    (ranking,) = leaderboard([*parts, PLAIN_ROW], PLAIN)
    assert ranking.rows == [PLAIN_ROW]


def test_a_system_is_named_by_what_tells_it_apart() -> None:
    smote = replace(PLAIN_ROW, sampler="smote", trained_on="union", value=0.6)
    text = shown([PLAIN_ROW, smote], PLAIN)
    assert "smote · trained on union" in text
    assert "all of them whisper-base, short window, head 256" in text


def test_a_score_stands_with_its_interval_and_its_size_or_says_that_it_has_none() -> None:
    sure = replace(PLAIN_ROW, value=0.712, low=0.65, high=0.769)
    few = replace(PLAIN_ROW, corpus="savee", value=0.5, speakers=3)
    text = shown([sure, few], PLAIN)
    assert "71.2 [65.0, 76.9]" in text
    assert "672 clips, 24 speakers" in text
    assert "50.0 no interval" in text


def test_the_matrix_holds_every_pair_and_the_corpus_itself_on_its_diagonal() -> None:
    found = matrices(ROWS, PLAIN)
    assert len(found) == 4
    means = [sum(row.value for row in one.elsewhere) / 30 for one in found]
    assert means == sorted(means, reverse=True)
    for matrix in found:
        assert matrix.trained == matrix.tested == sorted(EASE)
        assert set(matrix.cells) == set(product(sorted(EASE), repeat=2))
        for (trained, tested), row in matrix.cells.items():
            assert row.corpus == tested
            assert (row.protocol, row.trained_on) == (
                ("loso", "each") if trained == tested else ("cross", trained)
            )


def test_the_matrix_is_summed_up_in_a_sentence() -> None:
    across = replace(PLAIN_ROW, protocol="cross", corpus="emodb")
    values = {"ravdess": 0.61, "savee": 0.3, "esd": 0.52}
    rows = [replace(across, trained_on=name, value=value) for name, value in values.items()]
    text = shown(rows, PLAIN)
    assert "Half of 3 pairs score 52.0 % or less, chance is 25.0 %." in text
    assert "Best: ravdess → emodb, 61.0 %; weakest: savee → emodb, 30.0 %." in text


def test_a_pair_that_was_not_measured_says_so() -> None:
    pairs = [("ravdess", "emodb"), ("emodb", "savee")]
    rows = [replace(PLAIN_ROW, protocol="cross", trained_on=a, corpus=b) for a, b in pairs]
    assert shown(rows, PLAIN).count("not measured") == 2


def test_the_leak_is_what_the_random_split_adds_with_the_interval_of_its_test() -> None:
    honest = replace(PLAIN_ROW, value=0.7, trained_on="ravdess")
    random = replace(PLAIN_ROW, value=0.823, protocol="random", leaks="speaker,text")
    tested = replace(random, kind=DIFFERENCE, value=0.123, low=0.08, high=0.17)
    ((leak,),) = leaks([random, tested, honest], PLAIN)
    assert (leak.honest, leak.random, leak.difference) == (honest, random, tested)
    assert math.isclose(leak.value, 0.123)
    assert "+12.3 [+8.0, +17.0]" in shown([random, tested, honest], PLAIN)
    assert leaks([random, tested, replace(honest, sampler="smote")], PLAIN) == []


def test_a_protocol_that_leaks_says_what_and_what_that_means() -> None:
    text = shown(ROWS, replace(PLAIN, protocol="random"))
    assert "This protocol leaks: session, speaker, text." in text
    assert "this says nothing about new voices" in text
    assert "leaks:" not in shown(ROWS, PLAIN)


def test_adapted_results_say_so_at_every_board() -> None:
    text = shown(ROWS, replace(PLAIN, adapt="speaker-adapted"))
    assert text.count("Adapted (speaker-adapted)") == 3
    assert "Adapted" not in shown(ROWS, PLAIN)


def test_a_choice_without_results_says_what_to_do() -> None:
    text = shown(ROWS, replace(PLAIN, label_set="five"))
    assert "choose another protocol" in text
    assert "no pairs of corpora" in text
    assert "no random split" in text


def test_every_picture_is_a_table_with_a_caption_and_headed_cells() -> None:
    elements = Page(render_boards(ROWS, PLAIN)).elements
    names = [name for name, _ in elements]
    assert names.count("table") == names.count("caption") == 1 + 4 + 4
    assert all("scope" in attributes for name, attributes in elements if name == "th")
    assert not {"img", "svg", "canvas"} & set(names)


def test_texts_of_a_report_are_no_markup() -> None:
    text = "<img src=x onerror=alert(1)>"
    fields = ("corpus", "encoder", "sampler", "leaks", "note", "window", "head", "trained_on")
    rows = [replace(PLAIN_ROW, **{field: text}) for field in fields]
    rows += [replace(row, protocol="cross") for row in rows] + [
        replace(row, protocol="random") for row in rows
    ]
    names = {name for name, _ in Page(render_boards(rows, PLAIN)).elements}
    assert "img" not in names


def test_a_report_that_is_read_is_the_one_that_was_written(tmp_path: Path) -> None:
    other = replace(PLAIN_ROW, metric="accuracy")
    assert list(read_uar(find_report(str(write_results(tmp_path, [*ROWS, other]))))) == ROWS


def test_a_report_written_meanwhile_is_shown(tmp_path: Path) -> None:
    file = find_report(str(write_results(tmp_path, [PLAIN_ROW])))
    assert [row.value for row in read_uar(file)] == [0.5]
    write_results(tmp_path, [replace(PLAIN_ROW, value=0.6)])
    assert [row.value for row in read_uar(file)] == [0.6]


def test_what_does_not_apply_may_be_null(tmp_path: Path) -> None:
    values = asdict(PLAIN_ROW) | {"adapt": None, "setting": None, "clips": None}
    pq.write_table(pa.Table.from_pylist([values], schema=ROW_SCHEMA), tmp_path / "results.parquet")
    assert read_uar(tmp_path / "results.parquet") == (replace(PLAIN_ROW, clips=0),)


def table(**columns: pa.Array) -> bytes:
    values = pa.Table.from_pylist([asdict(PLAIN_ROW)], schema=ROW_SCHEMA)
    for name, column in columns.items():
        values = values.set_column(ROW_SCHEMA.get_field_index(name), name, column)
    sink = pa.BufferOutputStream()
    pq.write_table(values, sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no Parquet file"),
        (b"PAR1 not really PAR1", "no Parquet file"),
        (table()[:-9], "no Parquet file"),
        (table(value=pa.array(["high"])), "something else"),
        (table(value=pa.array([7.0])), "no shares, such as 7.0"),
        (table(value=pa.array([None], pa.float64())), "no shares, such as None"),
        (table(value=pa.array([math.nan])), "no shares, such as nan"),
    ],
)
def test_a_foreign_file_is_refused_in_one_sentence(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "results.parquet").write_bytes(content)
    text = Page(opened(str(tmp_path))[-1]).text
    assert "The report cannot be shown" in text
    assert "The file results.parquet is no report of this package" in text
    assert reason in text
    assert str(tmp_path) not in text


def test_a_table_of_something_else_names_the_columns_that_it_lacks(tmp_path: Path) -> None:
    pq.write_table(pa.table({"clip_id": ["a"], "value": [1.0]}), tmp_path / "results.parquet")
    with pytest.raises(InputError, match=r"lacks the columns adapt, chance, clips, .* more"):
        read_uar(tmp_path / "results.parquet")


def test_without_a_report_the_tab_says_how_to_make_one() -> None:
    *_, page = opened(None)
    assert "ser-generalize benchmark --dataset DATASET" in Page(page).text


def test_a_folder_without_a_report_is_named_by_no_path(tmp_path: Path) -> None:
    *_, page = opened(str(tmp_path))
    assert "The report's folder holds no results.parquet." in Page(page).text
    assert str(tmp_path) not in page


def test_a_report_on_the_hub_is_read_and_a_missing_one_said(hub: Hub, tmp_path: Path) -> None:
    hub.add("dataset", "org/report")
    file = write_results(tmp_path, ROWS) / "results.parquet"
    HfApi(endpoint=hub.url).upload_file(
        path_or_fileobj=file, path_in_repo=file.name, repo_id="org/report", repo_type="dataset"
    )
    assert list(read_uar(find_report("org/report"))) == ROWS
    text = Page(opened("org/other")[-1]).text
    assert "The Hub does not give results.parquet of the dataset org/other" in text


def test_the_tab_adds_nothing_to_the_api(tmp_path: Path) -> None:
    with gr.Blocks() as demo, gr.Tab("Benchmark"):
        benchmark_tab(str(write_results(tmp_path, ROWS)))
    assert demo.get_api_info() == {"named_endpoints": {}, "unnamed_endpoints": {}}
