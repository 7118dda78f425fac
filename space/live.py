"""Listening while somebody speaks: the microphone's last seconds, judged every second."""

from typing import Any

import gradio as gr
import numpy as np
import pictures
from checkpoints import Shelf
from listening import WINDOW, Recording, listen, read_piece
from uploads import used_once

from ser_generalize.errors import InputError
from ser_generalize.recordings import Samples
from ser_generalize.schema import SAMPLING_RATE

EVERY = 1.0  # seconds between two looks
LONGEST = 60  # seconds for which one visitor has a place
PLACES = 2  # visitors who are listened to live; the others wait
IDLE = (
    f'<div class="ser-card ser-empty"><p class="ser-lead">Speak.</p><p>The last {WINDOW:g} seconds '
    f"are judged every second, for {LONGEST} seconds at most; nothing is kept.</p></div>"
)


def live_listening(shelf: Shelf, chosen: gr.Dropdown) -> None:
    """Fill the Blocks around it with a microphone and bars that move."""

    def hear(path: str | None, held: Samples | None, checkpoint: str | None) -> tuple[str, Any]:
        if path is None:
            return IDLE, None
        try:
            with used_once(path) as (file,):
                pieces = [one for one in (held, read_piece(file)) if one is not None]
            samples = np.concatenate(pieces)[-round(WINDOW * SAMPLING_RATE) :]
            name = shelf.chosen(checkpoint)
            found = listen(name, shelf.load(name), Recording("", samples))
            return pictures.glance(found), samples
        except InputError as error:
            return pictures.refusal(str(error)), None

    with gr.Row():
        with gr.Column(scale=5, min_width=300):
            microphone = gr.Audio(
                sources=["microphone"],
                streaming=True,
                type="filepath",
                format=None,
                label="Microphone, live",
                elem_id="live",
            )
        with gr.Column(scale=7, min_width=300):
            bars = gr.HTML(IDLE, elem_id="live-answer")
    held = gr.State(None)
    quietly: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    microphone.stream(
        hear, [microphone, held, chosen], [bars, held],
        stream_every=EVERY, time_limit=LONGEST, concurrency_limit=PLACES, **quietly,
    )  # fmt: skip
    microphone.start_recording(lambda: None, None, held, **quietly)
