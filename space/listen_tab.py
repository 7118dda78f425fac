"""The Listen tab: what is shown where, and what happens when."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import pictures
from checkpoints import Shelf
from listening import Recording, add_to_voice, calibrated, listen, read_recording
from live import live_listening
from uploads import delete, several_files, used_once

from ser_generalize.adapt import FEWEST
from ser_generalize.errors import InputError
from ser_generalize.predictions import PLAIN

HELD_FOR = 900  # seconds that a page's recordings stay in memory when nothing happens
AT_ONCE = 2  # recordings that are listened to at a time; the others wait in a queue
LISTENING: dict[str, Any] = {
    "concurrency_id": "listening", "concurrency_limit": AT_ONCE, "api_visibility": "private",
    "show_progress": "hidden",
}  # fmt: skip
QUICK: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
UNTOLD = (
    "This checkpoint was not trained to be told of its speaker's recordings (`train --adapt "
    "speaker:5`): what it makes of them has not been measured."
)
MOODS = (
    f"{FEWEST} recordings or more of one voice, of a sentence or two each and in different moods: "
    "neutral ones alone can do harm. No label is needed. Measured on real speech, 5 clips gained "
    "3.1 points of UAR and 2 clips not surely any. They stay in memory while this page is open, "
    "and are not kept."
)
OUR_FAULT = (
    "Something broke here; it is not your recording's fault. Try again, or another checkpoint."
)

Voice = tuple[Recording, ...]
Paths = tuple[str, ...]


class ListenTab:
    """The components of the tab, and what its buttons do."""

    def __init__(self, page: gr.Blocks, shelf: Shelf, examples: Mapping[str, Path]) -> None:
        """Fill the Blocks around it."""
        self._shelf = shelf
        self._recording = gr.State(None, time_to_live=HELD_FOR)
        self._used = gr.State((), delete_callback=self.forget)  # uploads to delete
        self._voice = gr.State((), time_to_live=HELD_FOR)
        with gr.Row():
            with gr.Column(scale=5, min_width=300):
                self._ask(examples)
            with gr.Column(scale=7, min_width=300):
                self._answer = gr.HTML(pictures.EMPTY, elem_id="answer")
        with gr.Accordion("Calibrate to my voice", open=False):
            self._calibration()
        # Open: a microphone that is mounted later sends ten pieces a second, whatever it is told.
        with gr.Accordion("Live from the microphone", open=True):
            live_listening(shelf, self._chosen)
        self._wire(page, examples)

    def _ask(self, examples: Mapping[str, Path]) -> None:
        self._audio = gr.Audio(
            sources=["microphone", "upload"],
            type="filepath",
            format=None,  # as it came: the package decodes it, and no FFmpeg is needed
            label="A recording of up to 10 minutes (wav, flac, mp3, ogg, m4a)",
            elem_id="recording",
            editable=False,
        )
        gr.HTML('<p class="ser-label" id="examples">Or a fabricated voice that sounds</p>')
        with gr.Row(elem_classes="ser-examples"):
            self._examples = {name: gr.Button(name, size="sm") for name in examples}
        given = self._shelf.given()
        first = given[0] if given else None
        self._chosen = gr.Dropdown(given, value=first, label="Checkpoint", elem_id="checkpoint")
        self._gist = gr.HTML()
        with gr.Accordion("What this checkpoint learnt from", open=False):
            self._facts = gr.HTML()

    def _calibration(self) -> None:
        gr.Markdown(MOODS)
        with gr.Row():
            self._files = several_files(
                label="Recordings of your voice", height=140, elem_id="voice"
            )
            with gr.Column(min_width=220):
                self._count = gr.Markdown(_counted(()))
                self._add = gr.Button("Add the recording above", size="sm")
                self._forget = gr.Button("Forget my voice", size="sm")
                self._compare = gr.Button("Compare", variant="primary", interactive=False)
        self._pair = gr.HTML(elem_id="comparison")

    def _wire(self, page: gr.Blocks, examples: Mapping[str, Path]) -> None:
        heard = [self._recording, self._answer]
        new = gr.on(
            [self._audio.upload, self._audio.stop_recording], self.hear,
            [self._audio, self._chosen, self._used], [*heard, self._audio, self._used],
            trigger_mode="always_last", **LISTENING,
        )  # fmt: skip
        new.then(self.clean_up, self._used, self._used, **QUICK)
        answers = [new]
        for name, path in examples.items():
            show = partial(self.hear_example, path)
            answers.append(self._examples[name].click(show, self._chosen, heard, **LISTENING))
        again = [self._recording, self._chosen]
        answers.append(self._chosen.input(self.hear_again, again, self._answer, **LISTENING))
        for event in answers:
            event.failure(lambda: pictures.refusal(OUR_FAULT), None, self._answer, **QUICK)
        # Only now is the Hub asked what there is: the page starts without it.
        offered = page.load(self.offer, self._chosen, self._chosen, **QUICK)
        facts = [self._gist, self._facts]
        offered.then(self.describe, self._chosen, facts, **QUICK)
        self._chosen.change(self.describe, self._chosen, facts, **QUICK)
        told = [self._voice, self._count, self._compare, self._pair]
        self._files.upload(
            self.add_files, [self._voice, self._files], [*told, self._files], **QUICK
        )
        self._add.click(self.add_recording, [self._voice, self._recording], told, **QUICK)
        self._forget.click(lambda: _told(()), None, told, **QUICK)
        pair = self._compare.click(self.compare, [*again, self._voice], self._pair, **LISTENING)
        pair.failure(lambda: pictures.refusal(OUR_FAULT), None, self._pair, **QUICK)

    def hear(
        self, path: str | None, checkpoint: str | None, used: Paths
    ) -> Iterator[tuple[Any, ...]]:
        """Decode an upload and show what is heard in it; the page's player lets go of it first."""
        if path is None:
            yield gr.skip(), gr.skip(), gr.skip(), gr.skip()
            return
        yield gr.skip(), pictures.WAITING, None, gr.skip()
        try:
            recording = read_recording(Path(path))
        except InputError as error:
            yield None, pictures.refusal(str(error)), None, (*used, path)
        else:
            yield recording, self.hear_again(recording, checkpoint), None, (*used, path)

    def clean_up(self, used: Paths) -> Paths:
        """Delete uploads that were decoded, after the page's player let go of them."""
        self.forget(used)
        return ()

    def forget(self, used: Paths) -> None:
        """Delete uploads, as those of a visitor who has gone."""
        for path in used:
            delete(Path(path))

    def hear_example(self, path: Path, checkpoint: str | None) -> Iterator[tuple[Any, ...]]:
        """Show what is heard in an example."""
        yield gr.skip(), pictures.WAITING
        recording = read_recording(path, path.stem)
        yield recording, self.hear_again(recording, checkpoint)

    def hear_again(self, recording: Recording | None, checkpoint: str | None) -> str:
        """Return what another checkpoint hears in the recording at hand."""
        if recording is None:
            return pictures.EMPTY
        try:
            name = self._shelf.chosen(checkpoint)
            return pictures.answer(listen(name, self._shelf.load(name), recording))
        except InputError as error:
            return pictures.refusal(str(error))

    def describe(self, checkpoint: str | None) -> tuple[str, str]:
        """Return what a checkpoint says of itself, in a line and in full."""
        try:
            name = self._shelf.chosen(checkpoint)
            config = self._shelf.load(name).config
        except InputError as error:
            return pictures.refusal(str(error)), ""
        classes = list((config.id2label or {}).values())
        about = pictures.about_checkpoint(name, config.training, classes)
        return pictures.gist(config.training), about

    def offer(self, checkpoint: str | None) -> Any:
        """Return the checkpoints that may be chosen now."""
        names = self._shelf.names()
        if checkpoint in names:  # or another one, chosen since this was asked
            return gr.Dropdown(names)
        return gr.Dropdown(names, value=next(iter(names), None))

    def add_files(self, voice: Voice, paths: Sequence[str]) -> tuple[Any, ...]:
        """Decode recordings of the visitor's voice, and delete the files."""
        try:
            with used_once(*paths) as files:
                more = [read_recording(file) for file in files]
            return *_told(add_to_voice(voice, more)), None
        except InputError as error:
            return *_told(voice, pictures.refusal(str(error))), None

    def add_recording(self, voice: Voice, recording: Recording | None) -> tuple[Any, ...]:
        """Count the recording that was answered last as one of the visitor's voice."""
        try:
            if recording is None:
                raise InputError("There is no recording yet: record one above.")
            return _told(add_to_voice(voice, [recording]))
        except InputError as error:
            return _told(voice, pictures.refusal(str(error)))

    def compare(
        self, recording: Recording | None, checkpoint: str | None, voice: Voice
    ) -> Iterator[str]:
        """Show what is heard in the recording at hand without and with the visitor's voice."""
        yield pictures.WAITING
        try:
            yield self._compared(recording, self._shelf.chosen(checkpoint), voice)
        except InputError as error:
            yield pictures.refusal(str(error))

    def _compared(self, recording: Recording | None, checkpoint: str, voice: Voice) -> str:
        if recording is None:
            raise InputError("There is no recording to judge yet: record one above.")
        model = self._shelf.load(checkpoint)
        twin = calibrated(model, voice)
        before, after = (listen(checkpoint, one, recording) for one in (model, twin))
        untold = model.config.training.get("adapt", PLAIN) == PLAIN
        return pictures.comparison(before, after, len(voice), UNTOLD if untold else "")


def _told(voice: Voice, said: str = "") -> tuple[Any, ...]:
    enough = len(voice) >= FEWEST
    return voice, _counted(voice), gr.Button(interactive=enough), said


def _counted(voice: Voice) -> str:
    return f"**{len(voice)}** recording{'s' * (len(voice) != 1)} of you; {FEWEST} are needed."
