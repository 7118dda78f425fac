"""What Whisper makes of the silence behind a clip: remembered, not computed for every clip.

In a window of 30 s the frames of a clip also attend to the silence behind it, above all to a few
places whose states grow large and that draw attention wherever there is nothing to say (Darcet et
al. 2024, "Vision transformers need registers"; Xiao et al. 2024, "Efficient streaming language
models with attention sinks"). Cutting them off changes what every layer says of the clip.

So a window of nothing but silence is run once. Its keys and values stand for the silence behind
every clip, moved by what that clip changes in a few silent frames that are run with it: the large
places, and some spread over the window, between which changes are interpolated. A few neighbouring
places share a key; only for those frames the first block has to tell all places apart.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

BEHIND = 8  # frames right behind a clip that are run with it
SPREAD = 32  # silent frames run with every clip, evenly over the window
KEY_PLACES = 8  # neighbouring places that share a key
LARGE, ALONE = 16.0, 1.5  # times the median norm: from where on a place is run, or shares no key
# Silent frames to convolve: the last but one sees silence alone, the last the window's end.
EDGES = 4
LEVEL = -0.9  # what silence is in the log-mel of a clip of usual loudness


Attention = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # queries, keys, values, gain


class Remembered(nn.Module):
    """Keys and values of the silence in one block."""

    pairs: Tensor  # [2, heads, keys, size]
    spread: Tensor  # [2, heads, SPREAD, size]: of the frames run with every clip, in silence
    moves: Tensor  # [keys, SPREAD]: how much the change of each of those changes a key

    def __init__(self, heads: int, size: int, keys: int) -> None:
        super().__init__()
        self.register_buffer("pairs", torch.zeros(2, heads, keys, size))
        self.register_buffer("spread", torch.zeros(2, heads, SPREAD, size))
        self.register_buffer("moves", torch.zeros(keys, SPREAD))

    def change(self, own: Tensor) -> Tensor:
        """Return what clips change, [2, clips, heads, SPREAD, size], of their rows' own pairs."""
        return own[..., :SPREAD, :] - self.spread[:, None]

    def attend(self, queries: Tensor, own: Tensor, gain: Tensor) -> Tensor:
        """Attend to clips and silence; for few queries, as no key is moved before it is used."""
        (keys, values), (more_keys, more_values) = own[..., SPREAD:, :], self.change(own)
        silent = _by_head(queries, self.pairs[0].mT)
        silent = silent + (queries @ more_keys.mT) @ self.moves.mT
        weights = (torch.cat([queries @ keys.mT, silent], dim=-1) + gain).softmax(dim=-1)
        heard, silent = weights.split([keys.shape[-2], len(self.moves)], dim=-1)
        found = heard @ values + _by_head(silent, self.pairs[1])
        return found + (silent @ self.moves) @ more_values


class Silence(nn.Module):
    """The silence behind clips of any length, for all blocks of an encoder.

    A clip's rows are those of the frames spread over the silence, of the large places, and its own.
    """

    places: Tensor  # [SPREAD + large]: where the frames are that are run with every clip
    members: Tensor  # [keys, KEY_PLACES]: the places that a key stands for, -1 for none
    single: Tensor  # [places, 1]: the same where a key stands for one

    def __init__(
        self, heads: int, size: int, blocks: int, large: int, keys: int, single: int
    ) -> None:
        super().__init__()
        self.register_buffer("places", torch.zeros(SPREAD + large, dtype=torch.long))
        self.register_buffer("members", torch.full((keys, KEY_PLACES), -1))
        self.register_buffer("single", torch.full((single, 1), -1))
        self.blocks = nn.ModuleList(Remembered(heads, size, keys) for _ in range(blocks))
        self.first = Remembered(heads, size, single)  # the first block without shared keys

    @property
    def sizes(self) -> dict[str, int]:
        """What another one of this shape is made with."""
        large = len(self.places) - SPREAD
        return {"large": large, "keys": len(self.members), "single": len(self.single)}

    def frames(self, edges: Tensor, positions: Tensor) -> Tensor:
        """Return the frames run with each clip, [clips, SPREAD + large, width], before all blocks.

        `edges` [clips, 2, width] are a silent frame as the convolutions give it in the midst of
        silence and at the end of the window, `positions` [positions, width] the encoder's.
        """
        at_end = self.places == len(positions) - 1
        return edges[:, at_end.long()] + positions[self.places]

    def gains(self, frames: Tensor, own: int) -> tuple[Tensor, Tensor]:
        """Return what scores gain for `attend`, of clips of so many frames in `own` places.

        That is the logarithm of the number of places that a key stands for, [clips, 1, 1, keys]:
        with shared keys and without.
        """
        behind = frames[:, None]
        heard = [self.places[SPREAD:] >= behind, torch.arange(own, device=frames.device) < behind]
        silent = [(places >= behind[:, None]).sum(-1) for places in (self.members, self.single)]
        kind = self.first.moves.dtype
        shared, single = (torch.cat([*heard, one], dim=1).log().to(kind) for one in silent)
        return shared[:, None, None], single[:, None, None]

    def attend(
        self,
        block: int,
        queries: Tensor,
        rows: slice,
        own: Tensor,
        gains: tuple[Tensor, Tensor],
        attention: Attention,
    ) -> Tensor:
        """Let some rows of clips attend to all of them and to the silence behind.

        `queries` [clips, heads, rows, size] come scaled, `own` [2, clips, heads, rows, size] are
        keys and values. Rows are all, or some from behind the silent ones on.
        """
        known: Any = self.blocks[block]
        moved = known.pairs[:, None] + known.moves @ known.change(own)
        keys, values = torch.cat([own[..., SPREAD:, :], moved], dim=-2)
        if block or rows != slice(None):
            return attention(queries[:, :, rows], keys, values, gains[0])
        run = len(self.places)
        silent = self.first.attend(queries[:, :, :run], own, gains[1])
        return torch.cat([silent, attention(queries[:, :, run:], keys, values, gains[0])], dim=2)


def rows_ahead(silence: Silence | None) -> int:
    """Return how many rows of silent frames there are before those of a clip's own."""
    return len(silence.places) if silence else 0


@torch.no_grad()
def remember(encoder: Any, last: int) -> Silence:
    """Run a `transformers` WhisperEncoder on silence; keep what blocks up to number `last` need.

    Which places are large does not depend on `last`: they draw attention before they are.
    """
    config = encoder.config
    count, heads = config.max_source_positions, config.encoder_attention_heads
    mel = torch.full((1, config.num_mel_bins, 2 * count), LEVEL).to(encoder.conv1.weight)
    states = encoder(mel, output_hidden_states=True).hidden_states[: len(encoder.layers)]
    norms = torch.cat(states).norm(dim=-1)
    norms = norms / norms.median(dim=1, keepdim=True).values  # [blocks, places]
    largest = norms.amax(dim=0)
    largest[-1] = torch.inf  # what the convolutions see there is the end of the window
    large = (largest > LARGE).nonzero()[:, 0]
    spread = ((torch.arange(SPREAD) + 0.5) * count / SPREAD).long()
    shared, single = list(_groups(largest, KEY_PLACES)), list(_groups(largest, 1))
    size = config.d_model // heads
    silence = Silence(heads, size, last, len(large), len(shared), len(single))
    silence.places.copy_(torch.cat([spread, large]))
    silence.members.copy_(_table(shared, KEY_PLACES))
    silence.single.copy_(_table(single, 1))
    pairs = [_pairs(layer, states[n][0]) for n, layer in enumerate(encoder.layers[:last])]
    for known, found, inputs in zip(silence.blocks, pairs, norms, strict=False):
        _fill(known, found, spread, shared, inputs)
    if pairs:
        _fill(silence.first, pairs[0], spread, single, norms[0])
    return silence


def _by_head(rows: Tensor, known: Tensor) -> Tensor:
    """Return rows [clips, heads, rows, a] @ known [heads, a, b], which is not copied for a clip."""
    together = rows.transpose(0, 1).flatten(1, 2) @ known
    return together.unflatten(1, (len(rows), -1)).transpose(0, 1)


def _groups(largest: Tensor, together: int) -> Iterator[Tensor]:
    """Yield the places that share a key."""
    shared = largest <= min(ALONE, LARGE)
    yield from ((largest <= LARGE) & ~shared).nonzero()
    yield from shared.nonzero()[:, 0].split(together)


def _table(groups: Sequence[Tensor], width: int) -> Tensor:
    return torch.stack([pad(group, (0, width - len(group)), value=-1) for group in groups])


def _pairs(layer: Any, hidden: Tensor) -> Tensor:
    """Return keys and values of a block's input [places, width]: [2, heads, places, size]."""
    attention, normed = layer.self_attn, layer.self_attn_layer_norm(hidden)
    found = torch.stack([attention.k_proj(normed), attention.v_proj(normed)])
    return found.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)


def _fill(
    known: Any, pairs: Tensor, spread: Tensor, groups: Sequence[Tensor], norms: Tensor
) -> None:
    """Let a block remember; `norms` [places] are those of its inputs."""
    known.pairs.copy_(torch.stack([pairs[:, :, group].mean(2) for group in groups], dim=2))
    known.spread.copy_(pairs[:, :, spread])
    # A block's layer norm makes the same change the smaller, the larger a state is.
    scale = torch.stack([(1 / norms[group].clamp(min=1)).mean() for group in groups])
    centres = torch.stack([group.double().mean() for group in groups])
    known.moves.copy_(_interpolation(centres, spread.double()) * scale[:, None])


def _interpolation(places: Tensor, among: Tensor) -> Tensor:
    """Return weights [places, among] that interpolate linearly, and take the nearest outside."""
    right = torch.searchsorted(among, places).clamp(1, len(among) - 1)
    step = (among[right] - among[right - 1]).clamp(min=1)
    share = ((places - among[right - 1]) / step).clamp(0, 1)
    rows, weights = torch.arange(len(places)), torch.zeros(len(places), len(among)).double()
    weights[rows, right - 1] = 1 - share
    weights[rows, right] = share
    return weights
