"""The Space: a page to try checkpoints on, and the endpoint `/predict`.

`python app.py` shows what `settings.json` beside it says; `ser-generalize space` what it was asked.
"""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import gradio as gr
from api import predict_endpoint
from benchmark_tab import benchmark_tab
from checkpoints import Shelf
from examples import write_examples
from listen_tab import ListenTab
from theme import style, theme
from uploads import separate_uploads

HERE = Path(__file__).parent
SETTINGS = HERE / "settings.json"
TITLE = "How does it sound?"
WAITING = 200  # requests in the queue; who comes then is told to come back
LARGEST = "200mb"  # 10 minutes in stereo, 48 kHz and 24 bits have 173
SWEPT = (60, 600)  # seconds: how often uploads that nobody used are looked for, and how old
SESSIONS = 100  # pages whose recordings are held in memory: each at most 20 minutes, 77 MB
HEAD = f"""
<header class="ser-head"><h1>{TITLE}</h1>
<p>Speech emotion recognition that says how well it travels: what a checkpoint hears in a voice, how
sure it is, and what it learnt from. A label says how a clip <em>sounds</em>, not what anybody
feels.</p></header>"""


def build(shelf: Shelf, examples: Mapping[str, Path], benchmark: str | None = None) -> gr.Blocks:
    """Return the page; `benchmark` is a report of `ser-generalize benchmark`, or its Hub id."""
    separate_uploads()
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=SWEPT, fill_width=True
    ) as page:
        gr.HTML(HEAD)
        with gr.Tab("Listen"):
            ListenTab(page, shelf, examples)
        with gr.Tab("Benchmark"):
            benchmark_tab(benchmark)
        with gr.Tab("About"):
            gr.Markdown((HERE / "about.md").read_text("utf-8"), elem_classes="ser-about")
        predict_endpoint(shelf)
    return page.queue(max_size=WAITING)


def launch(page: gr.Blocks, host: str | None, port: int | None, wait: bool = True) -> str:
    """Serve the page, by default until Ctrl-C; return its address."""
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        max_file_size=LARGEST,
        state_session_capacity=SESSIONS,
        footer_links=["api"],
        ssr_mode=False,
        theme=theme(),
        css=style(),
        quiet=True,
    )
    if wait:
        print(f"space: open {address}", flush=True)
        page.block_thread()
    return address


def serve(
    checkpoints: Sequence[str] = (),
    organisation: str | None = None,
    benchmark: str | None = None,
    host: str | None = None,
    port: int | None = None,
) -> None:
    """Show the page until Ctrl-C; uploads lie in a folder that ends with it.

    Raises InputError where the first checkpoint cannot be loaded.
    """
    shelf = Shelf(checkpoints, organisation)
    shelf.check()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # which clears the folder up too
    with tempfile.TemporaryDirectory(prefix="ser-generalize-space-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder, "uploads"))
        made = Path(folder, "examples")
        made.mkdir()
        launch(build(shelf, write_examples(made), benchmark), host, port)


if __name__ == "__main__":
    # A copy of the folder that nobody gave settings offers the models of the Space's own account.
    own = {"organisation": os.environ.get("SPACE_AUTHOR_NAME")}
    serve(**json.loads(SETTINGS.read_text("utf-8")) if SETTINGS.is_file() else own)
