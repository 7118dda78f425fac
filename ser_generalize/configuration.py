"""The configuration of a checkpoint; its file is copied beside the weights and stands alone."""

from typing import Any

from transformers import PreTrainedConfig

SUMMED, CONCATENATED = "sum", "concat"


class SerConfig(PreTrainedConfig):
    """What a checkpoint computes, and what it was made of.

    `whisper` are the encoder's sizes, by the names of WhisperConfig; `layers` those of its hidden
    states that the head sees, as `transformers` numbers them; `window` is "short" (as long as the
    clip, with the silence behind it remembered in tables of the sizes that `silence` says), "cut"
    (with `margin` seconds of that silence) or "30s". The head takes a learned sum of the layers or,
    where `combine` is "concat", all of them side by side; `hidden_sizes` are its own. Logits are
    divided by `calibration`, the temperature that fits the scores of speakers never trained on. A
    clip whose highest probability is below `abstain_below` is better left unanswered; None where
    no threshold kept the errors of those speakers under the rate asked for. `training` says of the
    checkpoint what its card does.
    """

    model_type = "ser-generalize"

    def __init__(
        self,
        whisper: dict[str, int] | None = None,
        layers: list[int] | None = None,
        window: str = "short",
        margin: float = 0.0,
        silence: dict[str, int] | None = None,
        combine: str = SUMMED,
        hidden_sizes: list[int] | None = None,
        calibration: float = 1.0,  # not "temperature": that is taken for one of text generation
        abstain_below: float | None = None,
        training: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.whisper: dict[str, Any] = dict(whisper or {})
        self.layers = list(layers or [0])
        self.window = window
        self.margin = margin
        self.silence = silence
        self.combine = combine
        self.hidden_sizes = list(hidden_sizes or [])
        self.calibration = calibration
        self.abstain_below = abstain_below
        self.training = training or {}
        super().__init__(**settings)
