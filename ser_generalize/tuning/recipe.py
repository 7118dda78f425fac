"""What fine-tuning is asked for and how it is done; a cell says so before any data is read."""

from dataclasses import dataclass

NO_TUNING, FULL, LORA = "none", "full", "lora"
TUNINGS = (NO_TUNING, FULL, LORA)


@dataclass(frozen=True)
class TuneRecipe:
    """How an encoder and its head are fine-tuned together.

    The head comes trained, on the same clips: what is left to learn lies in the encoder, which has
    to move little for it. So the head learns slowly, and a block the more slowly the nearer it is
    to the input. The encoder's rates were chosen by validation speakers among RAVDESS actors 01-06.
    """

    learning_rate: float  # of the encoder's last block, or of the adapters in it
    epochs: int = 3  # of as many clips as there are, drawn balanced
    batch: int = 16  # clips of a step
    head_learning_rate: float = 2e-5
    layer_learning_rate: float = 2e-4  # of the head's weights of the layers
    layer_decay: float = 0.9  # of the learning rate, from a block to the one before it
    weight_decay: float = 1e-2
    warm_up: float = 0.2  # share of all steps
    largest_gradient: float = 1.0  # norm
    label_smoothing: float = 0.1
    seconds: float = 10.0  # that a longer clip is cut to, anew each time
    rank: int = 8  # of LoRA's products (Hu et al. 2022), which are scaled by 2
    until: int | None = None  # the epoch to end after; the schedule is that of all `epochs`

    def rate(self, step: int, steps: int) -> float:
        """Return the share of the learning rates at a step: it rises, then falls to 0, linearly."""
        rising = max(1, round(self.warm_up * steps))
        return min((step + 1) / rising, (steps - step) / max(1, steps - rising))


RECIPES = {FULL: TuneRecipe(learning_rate=3e-5), LORA: TuneRecipe(learning_rate=1e-3)}
