"""`ser-generalize predict`: what a checkpoint hears in files, folders and long recordings."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_generalize.audio import SILENCE
from ser_generalize.command import CommandParser, run_command
from ser_generalize.errors import InputError, listing
from ser_generalize.predictions import PLAIN
from ser_generalize.recordings import Samples, read_samples, read_windows
from ser_generalize.schema import SAMPLING_RATE

if TYPE_CHECKING:  # torch takes seconds to import
    from ser_generalize.modeling import SerForAudioClassification

# What is looked for in a folder; a file that is named may be called anything.
SUFFIXES = {".wav", ".flac", ".mp3", ".mp4", ".m4a", ".ogg", ".opus", ".aif", ".aiff"}
GROUP_WINDOWS = 8  # windows of a recording that are predicted at a time
SHORTEST_WINDOW = 0.5  # seconds
NOT_SURE, SILENT = "not sure", "silence"


@dataclass(frozen=True)
class Prediction:
    """What was heard in a stretch of a recording; no probabilities where it is silent."""

    file: Path
    start: float  # seconds
    end: float
    probabilities: dict[str, float] | None
    abstain_below: float | None

    @property
    def emotion(self) -> str | None:
        """The likeliest emotion; None in silence, and where it is not likely enough to answer."""
        if self.probabilities is None:
            return None
        likeliest = max(self.probabilities, key=self.probabilities.__getitem__)
        sure = self.probabilities[likeliest] >= (self.abstain_below or 0.0)
        return likeliest if sure else None

    def as_json(self) -> str:
        """Return it as a line of JSON."""
        return json.dumps(
            {
                "file": str(self.file),
                "start": self.start,
                "end": self.end,
                "emotion": self.emotion,
                "probabilities": self.probabilities,
            }
        )

    def as_row(self) -> str:
        """Return it as a row for reading, the file last, as long as it may be."""
        chances = self.probabilities or {}
        said = self.emotion or (NOT_SURE if chances else SILENT)
        listed = "  ".join(f"{name} {chance:4.0%}" for name, chance in chances.items())
        return f"{self.start:7.1f} {self.end:7.1f}  {said:<12}{listed}  {self.file}"


def probabilities(
    model: "SerForAudioClassification", waves: Sequence[Samples]
) -> NDArray[np.float32]:
    """Return a checkpoint's calibrated probabilities [clips, classes] of 16-kHz mono samples."""
    import torch

    device = model.device
    lengths = torch.tensor([len(wave) for wave in waves], device=device)
    padded = torch.zeros(len(waves), int(lengths.max()))
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    mask = torch.arange(padded.shape[1], device=device) < lengths[:, None]
    with torch.inference_mode():
        logits = model(padded.to(device), mask).logits
    return logits.float().softmax(-1).cpu().numpy()


def predict_file(
    model: "SerForAudioClassification", path: Path, window: float | None, hop: float | None
) -> Iterator[Prediction]:
    """Yield what is heard in a file: once, or in windows of so many seconds.

    Raises BadAudioError where it is not to be decoded.
    """
    yield from predict_windows(model, path, _windows(path, window, hop))


def predict_windows(
    model: "SerForAudioClassification", file: Path, windows: Iterator[tuple[float, Samples]]
) -> Iterator[Prediction]:
    """Yield what is heard in windows (start in seconds, samples) of a file."""
    while group := list(islice(windows, GROUP_WINDOWS)):
        heard = [_sounds(samples) for _, samples in group]
        waves = [samples for (_, samples), sounds in zip(group, heard, strict=True) if sounds]
        found = iter(_named(model, waves))
        for (start, samples), sounds in zip(group, heard, strict=True):
            end = start + len(samples) / SAMPLING_RATE
            chances = next(found) if sounds else None
            yield Prediction(file, start, round(end, 3), chances, model.config.abstain_below)


def calibrate_by(
    model: "SerForAudioClassification",
    files: Sequence[Path],
    window: float | None = None,
    hop: float | None = None,
) -> int:
    """Standardise from now on by what unlabelled recordings of one speaker say; return how many.

    Windows count each, silence does not. Raises InputError where a file is not to be decoded, and
    where all of them are silent.
    """
    waves = [wave for path in files for wave in _sound_of(path, window, hop)]
    if not waves:
        raise InputError(f"--calibrate: nothing but silence in {listing(files)}")
    standardise_by(model, waves)
    return len(waves)


def standardise_by(model: "SerForAudioClassification", waves: Sequence[Samples]) -> None:
    """Standardise from now on by what some unlabelled clips of one speaker say."""
    import torch

    from ser_generalize.adapt import calibrate
    from ser_generalize.heads import Scaler

    head = model.head
    with torch.inference_mode():
        clips = (torch.from_numpy(wave)[None].to(model.device) for wave in waves)
        features = torch.cat([model.features(clip) for clip in clips])
        found = calibrate(Scaler(head.mean, head.deviation), features.to(head.mean.dtype))
        head.mean.copy_(found.mean)
        head.deviation.copy_(found.deviation)


def _sound_of(path: Path, window: float | None, hop: float | None) -> list[Samples]:
    """Return the windows of a file that are not silent, or raise an InputError that names it."""
    try:
        return [samples for _, samples in _windows(path, window, hop) if _sounds(samples)]
    except (InputError, OSError) as error:
        raise InputError(f"--calibrate {path}: {_reason(error)}") from error


def _reason(error: InputError | OSError) -> str:
    return str(error.strerror if isinstance(error, OSError) else error)


def _windows(
    path: Path, window: float | None, hop: float | None
) -> Iterator[tuple[float, Samples]]:
    if window is None:
        return iter([(0.0, read_samples(path))])
    return read_windows(path, window, hop or window)


def _sounds(samples: Samples) -> bool:
    return bool(np.abs(samples).max() >= SILENCE)


def find_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield files as given and those of folders, sorted, hidden ones left out."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in SUFFIXES
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
        if not found:
            raise InputError(f"{path} holds no audio ({', '.join(sorted(SUFFIXES))})")
        yield from found


def _named(
    model: "SerForAudioClassification", waves: Sequence[Samples]
) -> Iterator[dict[str, float]]:
    if not waves:
        return
    names = (model.config.id2label or {}).values()
    for row in probabilities(model, waves).tolist():
        yield {name: round(chance, 6) for name, chance in zip(names, row, strict=True)}


def _print_all(
    model: "SerForAudioClassification", files: Sequence[Path], arguments: Any
) -> list[Path]:
    """Print what is heard in every file; return those that could not be read."""
    failed = []
    for path in files:
        try:
            for found in predict_file(model, path, arguments.window, arguments.hop):
                print(found.as_json() if arguments.json else found.as_row(), flush=True)
        except (InputError, OSError) as error:
            print(f"ser-generalize predict: {path}: {_reason(error)}", file=sys.stderr)
            failed.append(path)
    return failed


def parser() -> CommandParser:
    """Return the command's parser."""
    command = CommandParser(
        "ser-generalize predict",
        "Say what emotion a checkpoint hears, and how likely it is. Where it is not likely enough "
        "to keep the errors under the rate that the checkpoint promises, it says so.",
        "ser-generalize predict runs/final/checkpoint interview.wav --window 4 --json",
    )
    command.add_argument("checkpoint", help="folder that `train --final` made, or a Hub id")
    command.add_argument("files", type=Path, nargs="+", metavar="FILE", help="files and folders")
    command.add_argument("--json", action="store_true", help="a line of JSON each")
    command.add_argument(
        "--window",
        type=float,
        metavar="S",
        help="cut recordings, which may then be of any length, into windows of S seconds",
    )
    command.add_argument(
        "--hop",
        type=float,
        metavar="S",
        help="start a window every S seconds (default: its length)",
    )
    command.add_argument(
        "--calibrate",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="unlabelled recordings of the speaker of all the files, in as many moods as the "
        "speaker has: for checkpoints of `train --adapt speaker:CLIPS`",
    )
    return command


def _check(arguments: Any) -> None:
    if arguments.hop is not None and arguments.window is None:
        raise InputError("--hop is the step of windows: give --window S as well")
    if arguments.window is not None and not SHORTEST_WINDOW <= arguments.window <= 600:
        raise InputError(f"--window is {arguments.window:g}; give {SHORTEST_WINDOW} to 600 seconds")
    if arguments.hop is not None and not 0.1 <= arguments.hop <= arguments.window:
        raise InputError(f"--hop is {arguments.hop:g}; give 0.1 s to the length of the window")


def _calibrate(model: "SerForAudioClassification", files: Sequence[Path], arguments: Any) -> None:
    """Calibrate, and say so where that is not known to help."""
    from ser_generalize.adapt import FEWEST

    count, doubts = calibrate_by(model, files, arguments.window, arguments.hop), []
    if count < FEWEST:
        doubts.append(f"{count} recordings that sound, and under {FEWEST} are not known to help")
    if model.config.training.get("adapt", PLAIN) == PLAIN:
        doubts.append("this checkpoint was not trained to be told of its speaker's recordings")
    for doubt in doubts:
        print(f"ser-generalize predict: --calibrate: {doubt}", file=sys.stderr)


def main(argv: Sequence[str]) -> None:
    """Parse the command line and predict."""
    arguments = parser().parse_args(argv)
    _check(arguments)
    files = list(find_files(arguments.files))
    from ser_generalize.checkpoint import load_checkpoint
    from ser_generalize.encoder.device import find_device

    model = load_checkpoint(arguments.checkpoint)
    model.to(find_device(None))  # type: ignore[arg-type] # a decorator of transformers hides self
    if arguments.calibrate:
        _calibrate(model, list(find_files(arguments.calibrate)), arguments)
    failed = _print_all(model, files, arguments)
    if failed:
        raise InputError(f"{len(failed)} of {len(files)} files were not predicted, see above")


if __name__ == "__main__":
    sys.exit(run_command("ser-generalize predict", main, sys.argv[1:]))
