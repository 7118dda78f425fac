"""The endpoint `/predict`, for `gradio_client` and curl."""

from typing import Any

import gradio as gr
from checkpoints import Shelf
from listen_tab import LISTENING
from listening import listen, read_recording
from uploads import used_once

from ser_generalize.errors import InputError

DESCRIPTION = (
    "What a checkpoint hears in a recording of up to 10 minutes: the emotion (null where it is not "
    "sure, or hears silence), the calibrated probabilities, and the same over time."
)


def predict_endpoint(shelf: Shelf) -> None:
    """Add the endpoint to the Blocks around it."""

    def predict(recording: str | None, checkpoint: str | None) -> dict[str, Any]:
        try:
            if recording is None:
                raise InputError("No recording was given.")
            with used_once(recording) as (file,):
                found = read_recording(file)
            name = shelf.chosen(checkpoint)
            return listen(name, shelf.load(name), found).as_json()
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from error

    recording = gr.Audio(type="filepath", format=None, label="recording", visible=False)
    checkpoint = gr.Textbox("", label="checkpoint", visible=False)  # the first of the list
    found = gr.JSON(label="answer", visible=False)
    asked: dict[str, Any] = LISTENING | {"api_visibility": "public"}
    gr.Button(visible=False).click(
        predict, [recording, checkpoint], found,
        api_name="predict", api_description=DESCRIPTION, **asked,
    )  # fmt: skip
