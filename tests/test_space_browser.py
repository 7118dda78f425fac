"""The Space in a browser, as a visitor meets it: headless Chromium against the running app."""

import io
import os
import re
import shutil
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from make_checkpoint import make_checkpoint
from make_results import study, write_results
from scipy.signal import correlate

from dataset_scripts.synthesis.speech import synthesise
from dataset_scripts.synthesis.voice import draw_voice
from ser_generalize.checkpoint import load_checkpoint
from ser_generalize.labels import FOUR
from ser_generalize.predict import predict_file
from ser_generalize.schema import SAMPLING_RATE

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("needs chromium: apt-get install chromium", allow_module_level=True)
pytest.importorskip("gradio", reason="needs gradio: pip install .[space]")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install .[dev]")

from app import build, launch  # noqa: E402
from checkpoints import Shelf  # noqa: E402
from examples import write_examples  # noqa: E402

Page = Any
TEXT = "K IH1 D Z | AA1 R | T AO1 K IH0 NG | B AY1 | DH AH0 | D AO1 R"
PATIENCE = 10_000  # ms, on a machine that is busy with other tests
TRAINING = {"corpora": {"ravdess": {"clips": 672, "speakers": 24}}, "protocol": "loso"}
# What Chromium itself says of a file that is no sound, before the app has said anything.
UNPLAYABLE = "(?i)waveform load error|range.not.satisfiable|/gradio_api/file="
PHONE = {"width": 375, "height": 740}

CONTROLS = {"button", "combobox", "textbox", "link", "tab", "slider", "checkbox", "listbox"}
FAINT_TEXTS = Path(__file__).with_name("faint_texts.js").read_text()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fabricated voice of some three seconds."""
    random = np.random.default_rng(3)
    samples = synthesise("angry", draw_voice("male", random), TEXT, random, SAMPLING_RATE)
    path = tmp_path_factory.mktemp("clip") / "my voice.wav"
    soundfile.write(path, samples, SAMPLING_RATE)
    return path


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> dict[str, Path]:
    """Two checkpoints that answer differently, by their names on the page."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        "calm": make_checkpoint(tiny_encoder, folder / "calm", calibration=2.0, abstain_below=0.99),
        "bold": make_checkpoint(tiny_encoder, folder / "bold", training=TRAINING),
    }


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that uploads are written to."""
    folder = tmp_path_factory.mktemp("uploads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def address(
    tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path], uploads: Path
) -> Iterator[str]:
    """Where the app runs, with two checkpoints and a report."""
    made, report = tmp_path_factory.mktemp("examples"), tmp_path_factory.mktemp("report")
    shelf = Shelf([str(path) for path in checkpoints.values()])
    page = build(shelf, write_examples(made), str(write_results(report, study())))
    yield launch(page, "127.0.0.1", None, wait=False)
    page.close()


@pytest.fixture(scope="module")
def browser(clip: Path) -> Iterator[Any]:
    """A Chromium whose microphone hears the clip, again and again."""
    heard = ["use-fake-ui-for-media-stream", "use-fake-device-for-media-stream"]
    heard.append(f"use-file-for-fake-audio-capture={clip}")
    sandbox = ["no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=CHROMIUM, args=[f"--{flag}" for flag in heard + sandbox]
        )


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Callable[..., Page]]:
    """Open the page; by the end nothing may have failed, nor asked anybody else for anything."""
    complaints: list[str] = []
    with ExitStack() as contexts:

        def opened(path: str = "", expecting: str = "^$", **settings: Any) -> Page:
            def note(complaint: str) -> None:
                if not re.search(expecting, complaint):
                    complaints.append(complaint)

            def hear(said: Any) -> None:
                if said.type == "error":
                    note(f"{said.text} {said.location.get('url', '')}")  # of what, it tells apart

            page = contexts.enter_context(browser.new_context(**settings)).new_page()
            page.set_default_timeout(PATIENCE)
            page.on("console", hear)
            page.on("pageerror", lambda error: note(str(error)))
            page.on("response", lambda got: note(got.url) if got.status >= 400 else None)
            page.on("request", lambda asked: None if own(asked.url) else note(asked.url))
            page.goto(address + path)
            page.get_by_role("tab", name="Listen").wait_for()
            return page

        def own(url: str) -> bool:
            return url.startswith((address, "data:", "blob:"))

        yield opened
    assert complaints == []


def upload(page: Page, file: Path | dict[str, Any]) -> None:
    page.get_by_role("button", name="Upload file").click()
    page.locator("#recording input[type=file]").set_input_files(file)


def bars(page: Page, name: str) -> dict[str, int]:
    """Wait for the answer about a recording and return the bars in percent."""
    answer = page.get_by_role("article", name="Answer").filter(has_text=name)
    rows = answer.get_by_role("table", name="Probability of each emotion").get_by_role("row")
    rows.first.wait_for()
    return {word: int(share[:-1]) for word, share in map(str.split, rows.all_inner_texts())}


def heard_by(checkpoint: Path, file: Path) -> dict[str, int]:
    """What the package hears in a file, as the bars should show it."""
    (heard,) = predict_file(load_checkpoint(str(checkpoint)), file, None, None)
    assert heard.probabilities
    return {name: round(100 * share) for name, share in heard.probabilities.items()}


def played(page: Page) -> Any:
    """What the answer's player would play, samples at 16 kHz."""
    source = page.get_by_role("article", name="Answer").locator("audio").get_attribute("src")
    samples, rate = soundfile.read(io.BytesIO(b64decode(source.partition(",")[2])))
    assert rate == SAMPLING_RATE
    return samples


def alikeness(samples: Any, file: Path) -> float:
    """The largest correlation of a stretch of sound with any stretch of a file in a loop."""
    looped = np.tile(soundfile.read(file)[0], 3)
    energy = np.convolve(looped**2, np.ones(len(samples)), "valid")
    products = correlate(looped, samples, "valid")
    return float(np.max(products / np.sqrt(energy * (samples**2).sum() + 1e-12)))


def overflow(page: Page) -> int:
    """How many pixels have to be scrolled sideways to see all of the page."""
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


def test_an_uploaded_clip_is_answered_as_the_package_answers(
    visit: Any, clip: Path, checkpoints: dict[str, Path], uploads: Path
) -> None:
    page = visit()
    upload(page, clip)
    assert bars(page, clip.name) == heard_by(checkpoints["calm"], clip)
    page.get_by_role("heading", name="Not sure").wait_for()  # below 99 %
    assert [path for path in uploads.rglob("*") if path.is_file()] == []


def test_another_checkpoint_gives_its_own_answer_about_the_same_clip(
    visit: Any, clip: Path, checkpoints: dict[str, Path]
) -> None:
    page = visit()
    upload(page, clip)
    calm = bars(page, f"{clip.name} · {soundfile.info(clip).duration:.1f} s · calm")
    page.get_by_label("Checkpoint").click()
    page.get_by_role("option", name="bold").click()
    bold = bars(page, "bold")
    assert bold == heard_by(checkpoints["bold"], clip) != calm


def test_the_microphone_is_listened_to(visit: Any, clip: Path, uploads: Path) -> None:
    page = visit()
    page.locator("#recording").get_by_role("button", name="Record", exact=True).click()
    page.get_by_role("button", name="Stop", exact=True).wait_for()
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Stop", exact=True).click()
    found = bars(page, "audio.wav")
    assert set(found) == set(FOUR)
    assert alikeness(played(page), clip) > 0.5
    assert [path for path in uploads.rglob("*") if path.is_file()] == []


def test_bars_move_while_somebody_speaks(visit: Any, uploads: Path) -> None:
    page = visit()
    live = page.locator("#live")
    live.get_by_role("button", name="Record", exact=True).wait_for()
    page.wait_for_timeout(2000)  # gradio loads its recorder after the button
    live.get_by_role("button", name="Record", exact=True).click()
    answer = page.locator("#live-answer").get_by_role("article", name="Live answer")
    answer.wait_for()
    shown = answer.inner_text()
    page.wait_for_function(
        "shown => document.querySelector('#live-answer article').innerText !== shown", arg=shown
    )
    live.get_by_role("button", name="Stop", exact=True).click()
    page.wait_for_timeout(1500)
    assert len([path for path in uploads.rglob("*") if path.is_file()]) <= 1  # what came last


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"These are minutes of a meeting.\n" * 40, "cannot be listened to"),
        (b"", "empty"),
    ],
    ids=["text", "empty"],
)
def test_a_bad_file_is_refused_in_words_and_the_next_one_is_heard(
    content: bytes, reason: str, visit: Any, clip: Path, uploads: Path
) -> None:
    page = visit(expecting=UNPLAYABLE)
    upload(page, {"name": "notes.wav", "mimeType": "audio/wav", "buffer": content})
    refusal = page.get_by_role("alert")
    refusal.wait_for()
    text = refusal.inner_text()
    assert "notes.wav" in text
    assert reason in text
    assert "Traceback" not in text
    assert str(uploads) not in text
    upload(page, clip)
    assert sum(bars(page, clip.name).values()) in range(98, 103)


def test_an_example_is_heard_by_keyboard_alone(visit: Any) -> None:
    page = visit()
    page.get_by_role("button", name="angry").focus()
    page.keyboard.press("Enter")
    assert bars(page, "fabricated, angry")


def test_a_long_recording_has_a_time_line(visit: Any, clip: Path, tmp_path: Path) -> None:
    samples, rate = soundfile.read(clip)
    soundfile.write(tmp_path / "long.flac", np.tile(samples, 6), rate)
    page = visit()
    upload(page, tmp_path / "long.flac")
    line = page.get_by_role("list", name="What is heard over time")
    assert line.get_by_role("listitem").first.inner_text().startswith("0:00 to 0:")


def test_a_checkpoint_says_what_it_learnt_from(visit: Any) -> None:
    page = visit()
    page.get_by_text("It does not say what it learnt from.").wait_for()  # the list is complete now
    page.get_by_label("Checkpoint").click()
    page.get_by_role("option", name="bold").click()
    page.get_by_text("Learnt from ravdess").wait_for()
    page.get_by_role("button", name="What this checkpoint learnt from").click()
    page.get_by_role("row", name="ravdess 672 24").wait_for()


def test_five_recordings_of_a_voice_are_compared_with_none(
    visit: Any, clip: Path, uploads: Path
) -> None:
    page = visit()
    upload(page, clip)
    bars(page, clip.name)
    page.get_by_role("button", name="Calibrate to my voice").click()
    compare = page.get_by_role("button", name="Compare")
    assert compare.is_disabled()
    page.locator("#voice input[type=file]").set_input_files([clip] * 5)
    page.get_by_text("5 recordings of you").wait_for()
    compare.click()
    page.get_by_role("heading", name="Told of 5 recordings of you").wait_for()
    assert page.locator("#comparison").get_by_role("table").count() == 2
    assert [path for path in uploads.rglob("*") if path.is_file()] == []


def test_the_benchmark_never_shows_adapted_results_beside_plain_ones(visit: Any) -> None:
    page = visit()
    page.get_by_role("tab", name="Benchmark").click()
    page.get_by_role("heading", name="Leaderboard").wait_for()
    assert page.get_by_text("Adapted (speaker-adapted)").count() == 0
    page.get_by_label("Adaptation").click()
    page.get_by_role("option", name="speaker-adapted").click()
    page.get_by_text("Adapted (speaker-adapted)").first.wait_for()
    plain = f"{100 * next(row.value for row in study() if row.corpus == 'savee'):.1f}"
    assert plain not in page.get_by_role("tabpanel").filter(has_text="Leaderboard").inner_text()


def test_the_about_tab_says_what_the_models_must_not_be_used_for(visit: Any) -> None:
    page = visit()
    page.get_by_role("tab", name="About").click()
    about = page.get_by_role("tabpanel").filter(has_text="must not")
    text = about.inner_text().lower()
    words = ("hiring", "policing", "medical", "lie detection", "ai act", "cite")
    assert [word for word in words if word not in text] == []


def test_nothing_is_wider_than_a_phone(visit: Any, clip: Path) -> None:
    page = visit(viewport=PHONE)
    upload(page, clip)
    bars(page, clip.name)
    assert overflow(page) == 0
    for name in ("Benchmark", "About"):
        page.get_by_role("tab", name=name).click()
        page.get_by_role("tabpanel").filter(visible=True).wait_for()
        assert overflow(page) == 0, name


def test_every_control_has_a_name(visit: Any) -> None:
    page = visit()
    for name in ("Listen", "Benchmark", "About"):
        page.get_by_role("tab", name=name).click()
        page.get_by_role("tabpanel").filter(visible=True).wait_for()
        tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
        nameless = [
            node
            for node in tree["nodes"]
            if not node["ignored"] and node["role"]["value"] in CONTROLS
            if not node.get("name", {}).get("value")
        ]
        assert nameless == [], name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(theme: str, visit: Any) -> None:
    page = visit(f"?__theme={theme}")
    page.get_by_role("button", name="angry").click()
    bars(page, "fabricated, angry")
    for name in ("Listen", "Benchmark", "About"):
        page.get_by_role("tab", name=name).click()
        page.get_by_role("tabpanel").filter(visible=True).wait_for()
        assert page.evaluate(FAINT_TEXTS) == [], name
