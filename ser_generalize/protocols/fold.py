"""A fold: what is trained on, validated on and tested, and the proof of what it promises."""

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from ser_generalize.errors import InputError, listing
from ser_generalize.protocols.clips import Clips, Rows

NOUNS = {
    "speaker": "speaker",
    "sha256": "recording (SHA-256)",
    "session": "session",
    "text_id": "text",
    "corpus": "corpus",
    "official_split": "official split",
}
# The validation part is kept from the training part in these alone: it stands for new voices.
OF_VALIDATION = ("speaker", "sha256")


def _no_rows() -> Rows:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Fold:
    """One split of the clips: positions of the training, the test and the validation rows.

    Early stopping and calibration may look at the validation part, whose speakers come from the
    training side and are not in `train`. It is empty where there are too few speakers.
    """

    name: str
    train: Rows
    test: Rows
    validation: Rows = field(default_factory=_no_rows)

    def check(self, clips: Clips, apart: Collection[str]) -> None:
        """Prove that no two parts share a value of the columns `apart`, else raise InputError.

        Training and validation may share what is neither a speaker nor a recording.
        """
        parts = {"training": self.train, "validation": self.validation, "test": self.test}
        for name in apart:
            column = getattr(clips, name)
            present = {part: column.present(rows) for part, rows in parts.items()}
            for one, other in combinations(parts, 2):
                shared = np.flatnonzero(present[one] & present[other])
                if len(shared) and (other == "test" or name in OF_VALIDATION):
                    values = listing((column.names[code] for code in shared), 3)
                    raise InputError(
                        f"fold {self.name} leaks: {NOUNS[name]} {values} is in both the {one} and "
                        f"the {other} part; correct the dataset, or leave a corpus out with "
                        "--corpora"
                    )
