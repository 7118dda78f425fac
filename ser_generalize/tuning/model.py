"""A checkpoint's model while it is fine-tuned: what is trained of it, and what a step sees."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from ser_generalize.augment import Augmentation
from ser_generalize.heads import LAYER_SCORES, random_bits
from ser_generalize.modeling import STRIDE, Seen, SerForAudioClassification
from ser_generalize.tuning.recipe import LORA, TuneRecipe

ADAPTED = r"(self_attn\.(q_proj|k_proj|v_proj|out_proj)|fc1|fc2)"  # every product of a block


@dataclass(frozen=True)
class MicroBatch:
    """Clips that go through the model together: those at 2 i and 2 i + 1 are of one class.

    `samples` and `mask` [clips, samples] as SerForAudioClassification takes them. `weight` [clips]
    is how far each is moved towards the other of its pair, 0 for one that stays as it is; `seeds`
    [clips] are where the masks and the dropout of each come from.
    """

    samples: Tensor
    mask: Tensor
    weight: Tensor
    seeds: Tensor
    label: Tensor


class Tunable(SerForAudioClassification):
    """The same computation, differentiated: in training mels are masked and embeddings mixed."""

    augmentation: Augmentation | None = None
    recompute = False  # a block's activations when they are needed, instead of keeping them
    _masks: Iterator[torch.Generator] = iter(())

    def predict(self, samples: Tensor, mask: Tensor) -> Tensor:
        """Return logits [clips, classes], not calibrated, of clips as they are."""
        return self._logits(self.features(samples, mask))

    def learn(self, batch: MicroBatch) -> Tensor:
        """Return the logits [clips, classes] that a step learns from; every clip is one window."""
        if self.augmentation is not None:
            self._masks = iter([_generator(seed) for seed in batch.seeds.tolist()])
        features = self.features(batch.samples, batch.mask)
        # As SMOTE does: between two clips of a class, in the space in which heads are trained.
        features = features.lerp(_partners(features), batch.weight[:, None, None])
        return self._logits(features, batch.seeds)

    def _logits(self, features: Tensor, seeds: Tensor | None = None) -> Tensor:
        """Return what the head says, which was trained with half of its inputs dropped as well."""
        with torch.autocast(features.device.type, enabled=False):
            if seeds is None:
                return self.head(features.float())
            hidden = self.head.combined(features.float())
            bits = iter(_kept(seeds, [hidden.shape[1], *self.config.hidden_sizes]))
            for layer in self.head.linear[:-1]:
                hidden = relu(layer(2 * hidden * next(bits)))
            return self.head.linear[-1](2 * hidden * next(bits))

    def _mel(self, windows: list[Tensor], frames: int) -> tuple[Tensor, Tensor]:
        with torch.autocast(windows[0].device.type, enabled=False), torch.no_grad():
            mels, silence = super()._mel(windows, frames)
            masked = [
                self._masked(mel, len(window), next(self._masks, None))
                for mel, window in zip(mels, windows, strict=True)
            ]
            return torch.stack(masked), silence

    def _masked(self, mel: Tensor, samples: int, generator: torch.Generator | None) -> Tensor:
        if self.augmentation is None or generator is None:
            return mel
        sounding = 2 * -(-samples // STRIDE)
        masked = self.augmentation.mel(mel[:, :sounding], generator)
        return torch.cat([masked, mel[:, sounding:]], dim=1)

    def _block(self, number: int, hidden: Tensor, seen: Seen) -> Tensor:
        if not (self.recompute and torch.is_grad_enabled()):
            return super()._block(number, hidden, seen)
        found: Any = checkpoint(super()._block, number, hidden, seen, use_reentrant=False)
        return found


def make_tunable(model: SerForAudioClassification, mode: str, rank: int, seed: int) -> Tunable:
    """Return a model to fine-tune: all of its encoder that the head sees, or adapters in it."""
    tunable = Tunable(model.config)
    tunable.load_state_dict(model.state_dict())
    seen = max(model.config.layers)
    tunable.requires_grad_(False)
    if mode == LORA:
        _add_adapters(tunable, seen, rank, seed)
    else:
        encoder = tunable.encoder
        last = [encoder.layer_norm] if seen == len(encoder.layers) else []
        for part in (encoder.conv1, encoder.conv2, *encoder.layers[:seen], *last):
            part.requires_grad_(True)
    tunable.head.requires_grad_(True)
    return tunable.train()


def merged(tunable: Tunable) -> SerForAudioClassification:
    """Return the plain model that fine-tuning ended with, adapters added to the weights."""
    model = SerForAudioClassification(tunable.config)
    weights = {
        name: value.clone() for name, value in tunable.state_dict().items() if ".lora_" not in name
    }
    for name, module in tunable.named_modules():
        if hasattr(module, "get_delta_weight"):  # peft's layer around one of ours
            weights[f"{name}.base_layer.weight"] += module.get_delta_weight("default")
    plain = {name.replace(".base_layer.", "."): value for name, value in weights.items()}
    model.load_state_dict(plain)
    return model.eval().requires_grad_(False)


def trained(tunable: Tunable) -> dict[str, nn.Parameter]:
    """Return what is trained, by name."""
    return {name: value for name, value in tunable.named_parameters() if value.requires_grad}


def make_optimiser(tunable: Tunable, recipe: TuneRecipe) -> torch.optim.AdamW:
    """Return the optimiser; every group knows its learning rate before the schedule as `full`."""
    blocks = max(tunable.config.layers)
    rates: dict[float, list[nn.Parameter]] = {}
    for name, value in trained(tunable).items():
        rates.setdefault(_rate(name, recipe, blocks), []).append(value)
    groups = [{"params": values, "lr": rate, "full": rate} for rate, values in rates.items()]
    return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)


def pad_waves(waves: Sequence[NDArray[np.float32]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return clips [clips, samples], zero behind their ends, and the mask that says where."""
    samples = pad_sequence([torch.from_numpy(wave) for wave in waves], batch_first=True)
    lengths = torch.tensor([len(wave) for wave in waves])
    mask = torch.arange(samples.shape[1]) < lengths[:, None]
    return samples.to(device), mask.to(device)


def _rate(name: str, recipe: TuneRecipe, blocks: int) -> float:
    """Return the learning rate of a parameter by its name: see TuneRecipe."""
    if name.startswith("head."):
        of_layers = name.endswith(LAYER_SCORES)
        return recipe.layer_learning_rate if of_layers else recipe.head_learning_rate
    if name.startswith("encoder.conv"):
        return recipe.learning_rate * recipe.layer_decay**blocks
    if name.startswith("encoder.layers."):
        number = int(name.split(".")[2])
        return recipe.learning_rate * recipe.layer_decay ** (blocks - 1 - number)
    return recipe.learning_rate  # the last norm


def _add_adapters(tunable: Tunable, layers: int, rank: int, seed: int) -> None:
    """Put peft's adapters around the products of the first blocks; they start as nothing."""
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    numbers = "|".join(map(str, range(layers)))
    where = rf"encoder\.layers\.({numbers})\.{ADAPTED}"
    LoraModel(tunable, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=where), "default")
    generator = torch.Generator().manual_seed(seed)  # torch's own is shared by threads
    for name, value in tunable.named_parameters():
        if ".lora_A." in name:
            nn.init.kaiming_uniform_(value, a=5**0.5, generator=generator)


def _kept(seeds: Tensor, sizes: Sequence[int]) -> Sequence[Tensor]:
    """Return which inputs of every layer stay for each clip, [clips, size] of 0 and 1."""
    bits = random_bits(seeds, torch.zeros_like(seeds), sum(sizes))
    return bits.split(list(sizes), dim=1)


def _partners(features: Tensor) -> Tensor:
    return features.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
