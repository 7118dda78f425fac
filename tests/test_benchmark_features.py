"""Features and their cost: what is asked of which stores, and what is said of the answers."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from ser_generalize import train
from ser_generalize.benchmark import cost
from ser_generalize.benchmark.cost import COST, measure_encoder, read_costs, write_costs
from ser_generalize.benchmark.features import FEATURES
from ser_generalize.benchmark.part import Study
from ser_generalize.benchmark.pictures import draw
from ser_generalize.benchmark.sections import Section
from ser_generalize.cell import Cell
from ser_generalize.embed import embed
from ser_generalize.embeddings import StoreKey, read_manifest
from ser_generalize.encoder import Settings
from ser_generalize.errors import InputError
from ser_generalize.experiment import run_cell
from ser_generalize.predictions import Predictions, read_predictions
from ser_generalize.reader import Reader

ONE_LAYER = Settings(dtype="fp32", layers=(1,))
Runs = Mapping[Cell, Predictions]


@pytest.fixture(scope="module")
def study(
    dataset: Path, store: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Study:
    """A store of three layers, its stock window, in noise, and log-mel statistics."""
    folder = tmp_path_factory.mktemp("stores")
    embed(str(dataset), "logmel", folder / "logmel")
    embed(str(dataset), str(tiny_encoder), folder / "stock", settings=Settings("30s", dtype="fp32"))
    embed(str(dataset), str(tiny_encoder), folder / "noisy", settings=Settings(dtype="fp32"),
          degradation="noise:0")  # fmt: skip
    stores = (store, folder / "noisy", folder / "logmel", folder / "stock")
    return Study(str(dataset), stores, ("ravdess",), 1, "logistic")


@pytest.fixture(scope="module")
def runs(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """All that the part asks for."""
    folder = tmp_path_factory.mktemp("runs")
    for number, cell in enumerate(asked := FEATURES.cells(study)):
        run_cell(cell, folder / str(number))
    return {cell: read_predictions(folder / str(n)) for n, cell in enumerate(asked)}


def all_text(section: Section) -> str:
    return " ".join([section.title, *section.findings, *section.notes])


def test_only_what_the_stores_can_answer_is_asked(study: Study) -> None:
    store, noisy, logmel, stock = study.embeddings
    asked = FEATURES.cells(study)
    assert len(asked) == len(set(asked)) == 3 + 3 + 2
    assert noisy not in {cell.embeddings for cell in asked}
    assert [cell.layers for cell in asked if cell.layers] == [(0,), (1,), (2,)]
    assert {cell.embeddings for cell in asked if cell.layers or cell.pooling != "both"} == {store}
    assert FEATURES.cells(replace(study, embeddings=(logmel,))) == [study.cell(embeddings=logmel)]
    assert COST.cells(study) == [study.cell(embeddings=one) for one in (store, logmel, stock)]


def test_encoders_layers_poolings_and_windows_are_compared(study: Study, runs: Runs) -> None:
    sections = FEATURES.sections(study, runs, Path())
    assert [section.title.partition(" ")[0] for section in sections] == [
        "Encoders", "Layers", "Pooling", "Window",
    ]  # fmt: skip
    encoders, layers, pooling, window = sections
    assert [row.encoder for row in encoders.tables[0].rows] == [
        "tiny-random", "logmel", "tiny-random",
    ]  # fmt: skip
    assert "eGeMAPSv02 is not among the stores" in all_text(encoders)
    settings = [row.setting for row in layers.tables[0].rows]
    assert settings == ["layer=0", "layer=1", "layer=2", "all layers"]
    curve = {row.setting: row.value for row in layers.tables[0].rows}
    for row in layers.tables[1].rows:
        assert row.value == pytest.approx(curve[row.setting] - curve["layer=2"])
        assert row.p_adjusted is not None
    assert [row.setting for row in pooling.tables[1].rows] == ["pooling=mean", "pooling=std"]
    assert "short windows" in all_text(window)
    for section in sections:
        for figure in section.figures:
            assert draw(figure)[0].startswith(b"<?xml")
        assert section.findings


def test_what_is_not_finished_is_said(study: Study, runs: Runs) -> None:
    first = {cell: run for cell, run in runs.items() if cell == study.cell()}
    encoders, layers = FEATURES.sections(study, first, Path())
    assert "fewer than two stores are finished" in all_text(encoders)
    assert layers.notes == ["its layers are not finished"]


def test_a_layer_of_a_store_is_what_a_store_of_that_layer_is(
    study: Study, runs: Runs, dataset: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    embed(str(dataset), str(tiny_encoder), tmp_path / "one", settings=ONE_LAYER)
    run_cell(study.cell(embeddings=tmp_path / "one"), tmp_path / "run")
    whole, found = read_predictions(tmp_path / "run"), runs[study.cell(layers=(1,))]
    np.testing.assert_array_equal(found.probabilities(), whole.probabilities())
    assert "layer 1" in found.about.run and "layer" not in whole.about.run
    everything = runs[study.cell()].probabilities()
    assert np.abs(found.probabilities() - everything).max() > 0.01


def test_a_reader_tells_layers_and_poolings_apart(study: Study) -> None:
    reader = Reader()
    whole = reader.material(study.cell()).features
    for layer in (0, 2):
        one = reader.material(study.cell(layers=(layer,))).features
        np.testing.assert_array_equal(one[:, 0], whole[:, layer])
    mean = reader.material(study.cell(pooling="mean")).features
    np.testing.assert_array_equal(mean, whole[:, :, : mean.shape[2]])
    assert reader.material(study.cell(pooling="mean", sampler="over")).features is mean


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--layers", "7"], "has no layer 7; it holds: 0, 1, 2"),
        (["--pooling", "max"], "--pooling.*max.*mean, std, both"),
        (["--layers", "1", "--final", "--train-on", "union"], "leave out --layers"),
    ],
)
def test_layers_and_poolings_that_do_not_exist_are_refused(
    more: list[str], expected: str, study: Study, tmp_path: Path
) -> None:
    argv = ["--dataset", study.dataset, "--embeddings", str(study.store)]
    with pytest.raises(InputError, match=expected):
        train.main([*argv, "--out", str(tmp_path / "run"), *more])
    assert not (tmp_path / "run").exists()


# Cost


def test_an_encoder_s_weights_and_products_are_counted(
    study: Study, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_encoder.parent)
    key = replace(read_manifest(study.store)[0], window="cut")
    found = measure_encoder(key, "cpu")
    weights = load_file(tiny_encoder / "model.safetensors")
    used = sum(w.numel() for name, w in weights.items() if name.startswith("model.encoder."))
    assert found.parameters == pytest.approx(used / 1e6)
    frames, width, ffn, layers = 150, 32, 64, 2
    blocks = layers * (2 * frames * (4 * width**2 + 2 * width * ffn) + 4 * frames**2 * width)
    mels = 2 * 2 * frames * (3 * 80 * width + 402 * 80) + 2 * frames * 3 * width**2
    assert found.gflop == pytest.approx((blocks + mels) / 1e9, rel=0.02)
    assert found.throughput and found.throughput > 0 and found.latency and found.memory
    one = measure_encoder(replace(key, layers=(0, 1)), "cpu")
    assert one.gflop and one.parameters and one.gflop < found.gflop
    assert one.parameters < found.parameters
    with_silence = measure_encoder(replace(key, window="short"), "cpu").gflop
    assert with_silence and found.gflop < with_silence < 5 * found.gflop


def test_what_cannot_be_measured_says_why_and_what_is_known_is_not_measured_again(
    study: Study, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    few = replace(study, embeddings=(study.embeddings[0], study.embeddings[2]))
    COST.measure(few, tmp_path / "cost")
    costs = {found.encoder: found for found in read_costs(tmp_path / "cost").values()}
    assert "tiny-random" in costs["tiny-random"].problem and not costs["logmel"].problem
    (section,) = COST.sections(few, runs, tmp_path / "cost")
    assert any("was not measured: encoder 'tiny-random'" in note for note in section.notes)
    tried: list[str] = []

    def measured(key: StoreKey, _: str) -> cost.Cost:
        tried.append(key.encoder)
        return costs[key.encoder]

    monkeypatch.setattr(cost, "_measured", measured)
    COST.measure(few, tmp_path / "cost")
    assert tried == ["tiny-random"]


def test_costs_stand_beside_scores(study: Study, runs: Runs, tmp_path: Path) -> None:
    stores = {store: read_manifest(store)[0] for store in study.embeddings}
    keys = [stores[store] for store in study.embeddings if "noisy" not in store.name]
    write_costs(tmp_path, [
        cost.Cost(key.encoder, key.revision, key.window, key.dtype, "a machine",
                  parameters=n, gflop=10.0**n, latency=2.0 * n, throughput=50 / n, memory=1.0)
        for n, key in enumerate(keys, 1)
    ])  # fmt: skip
    (section,) = COST.sections(study, runs, tmp_path)
    (table,) = section.tables
    assert len(table.rows) == 3 * (1 + len(cost.METRICS))
    scores = [row for row in table.rows if row.metric == "uar"]
    assert [row.encoder for row in scores] == ["tiny-random", "logmel", "tiny-random"]
    assert scores[0].low is not None
    assert "measured on: a machine" in section.notes and section.findings
    assert [figure.kind for figure in section.figures] == ["scatter", "scatter"]
    assert [row.setting for row in section.figures[0].rows] == [
        "GFLOP a clip=10", "GFLOP a clip=100", "GFLOP a clip=1000",
    ]  # fmt: skip
    for figure in section.figures:
        assert draw(figure)[0].startswith(b"<?xml")
