"""A cell of an experiment: what is asked for, and what of it goes together."""

from dataclasses import dataclass, replace
from pathlib import Path

from ser_generalize import heads
from ser_generalize.adapt import parse_adapt
from ser_generalize.errors import InputError, one_of
from ser_generalize.labels import (
    ACTED,
    ALTERNATIVES,
    LABELS_FROM,
    NATIVE,
    VOTES,
    check_label_set,
)
from ser_generalize.predictions import PLAIN
from ser_generalize.protocols import EACH, PROTOCOLS
from ser_generalize.resampling import BATCHES, SAMPLERS
from ser_generalize.training import CROSS_ENTROPY, FOCAL, LOSSES, Recipe
from ser_generalize.tuning.recipe import NO_TUNING, RECIPES, TUNINGS, TuneRecipe

ALL_LANGUAGES = "all"
DEFAULT_LANGUAGE = "en"
FIXED, EARLY = "fixed", "early"
FP32, BF16 = "fp32", "bf16"
STOPS = {
    FIXED: "all epochs, on all training speakers",
    EARLY: "validation speakers, kept out of training, choose the epoch and the temperature",
}


@dataclass(frozen=True)
class Cell:
    """What is run: one point of a benchmark grid, on one dataset and one embedding store."""

    dataset: str
    embeddings: Path
    protocol: str = "loso"
    labels: str = "four"
    labels_from: str = ACTED
    alternatives: tuple[str, ...] = ()  # disputed mappings that are decided the other way
    sampler: str = "none"
    head: str = heads.DEFAULT_HEAD
    loss: str = CROSS_ENTROPY
    stop: str = FIXED
    adapt: str = PLAIN
    seeds: int = 1
    train_on: str = EACH
    corpora: tuple[str, ...] = ()  # empty: every corpus of the dataset
    languages: tuple[str, ...] = ()  # "en" holds "en-NZ"; empty: see `chosen_languages`
    test_embeddings: Path | None = None  # of the same clips, degraded: what is tested on
    augment: tuple[Path, ...] = ()  # of the same clips, degraded: what is trained on as well
    layers: tuple[int, ...] = ()  # of the store; empty: all that it holds
    pooling: str = heads.BOTH
    dtype: str = FP32  # of the products of heads in training
    tune: str = NO_TUNING
    tune_epochs: int | None = None  # None: those of the recipe

    def check(self) -> None:
        """Raise InputError for a name that means nothing, before any data is read."""
        one_of("protocol", self.protocol, PROTOCOLS)
        check_label_set(self.labels)
        one_of("--labels-from", self.labels_from, LABELS_FROM)
        for name in self.alternatives:
            one_of("--label-map", name, ALTERNATIVES)
        if self.labels == NATIVE:
            self._check_native()
        one_of("sampler", self.sampler, SAMPLERS)
        allowed = PROTOCOLS[self.protocol].train_on
        one_of(f"--train-on for protocol {self.protocol}", self.train_on, allowed)
        one_of("loss", self.loss, LOSSES)
        one_of("--stop", self.stop, STOPS)
        parse_adapt(self.adapt)
        if self.test_embeddings and self.adapt != PLAIN:
            raise InputError(
                f"--test-embeddings is for --adapt {PLAIN}, not {self.adapt}: the unlabelled clips "
                "that adapt are those of --embeddings"
            )
        one_of("--pooling", self.pooling, heads.POOLINGS)
        one_of("--dtype", self.dtype, (FP32, BF16))
        if self.seeds < 1:
            raise InputError(f"--seeds {self.seeds} is no number of seeds; give 1 or more")
        if heads.parse_head(self.head) is None:
            self._check_linear()
        one_of("--tune", self.tune, TUNINGS)
        if self.tune != NO_TUNING:
            self._check_tuning()

    def _check_native(self) -> None:
        """Refuse what gives labels another meaning: native ones are taken as they are."""
        if self.labels_from == VOTES:
            raise InputError(
                "--labels-from votes is for --labels four or five: raters chose among emotions, "
                "not among a corpus's native labels"
            )
        if self.alternatives:
            raise InputError(
                f"--label-map {self.alternatives[0]} is for --labels four or five: native labels "
                "are not mapped"
            )

    def _check_tuning(self) -> None:
        """Refuse what the model that is fine-tuned does not compute."""
        asked = {
            f"--adapt {self.adapt}": self.adapt != PLAIN,
            "--test-embeddings": self.test_embeddings is not None,
            "--augment": bool(self.augment),
            "--layers": bool(self.layers),
            f"--pooling {self.pooling}": self.pooling != heads.BOTH,
        }
        for option, given in asked.items():
            if given:
                raise InputError(
                    f"{option} is for heads on a frozen encoder; leave it out, or --tune"
                )
        if self.tune_recipe.epochs < 1:
            raise InputError(
                f"--tune-epochs {self.tune_epochs} is no number of epochs; give 1 or more"
            )

    @property
    def recipe(self) -> Recipe:
        """How the cell's heads are trained."""
        return Recipe(loss=self.loss, bf16=self.dtype == BF16)

    @property
    def tune_recipe(self) -> TuneRecipe:
        """How the cell's folds are fine-tuned, where they are."""
        recipe = RECIPES[self.tune]
        return recipe if self.tune_epochs is None else replace(recipe, epochs=self.tune_epochs)

    @property
    def epochs(self) -> int:
        """How many times a fold's clips are gone through, at most, in what takes the time."""
        return self.recipe.epochs if self.tune == NO_TUNING else self.tune_recipe.epochs

    def _check_linear(self) -> None:
        """Refuse what needs a head that is trained batch by batch."""
        asked = {"--tune": self.tune, "--sampler": self.sampler}
        asked |= {"--loss": self.loss, "--stop": self.stop, "--dtype": self.dtype}
        refused = {*RECIPES, *BATCHES, FOCAL, EARLY, BF16}
        if parse_adapt(self.adapt).clips is not None:  # epochs simulate what is known
            asked["--adapt"], refused = self.adapt, {*refused, self.adapt}
        for option, value in asked.items():
            if value in refused:
                raise InputError(
                    f"{option} {value} is for heads that are trained in batches; choose another, "
                    f"or --head {heads.DEFAULT_HEAD}"
                )

    @property
    def chosen_languages(self) -> tuple[str, ...]:
        """The languages asked for, empty for all.

        English by default where corpora meet, in a union or across; corpora that are named keep all
        of theirs.
        """
        meeting = self.train_on != EACH or PROTOCOLS[self.protocol].elsewhere
        if self.languages:
            return () if ALL_LANGUAGES in self.languages else self.languages
        return (DEFAULT_LANGUAGE,) if meeting and not self.corpora else ()
