"""How numbers and what they were measured under read, on pages and in tables alike."""

from ser_generalize.benchmark.sections import DIFFERENCE, Row
from ser_generalize.summary import percent, points

FIELDS = {  # the heading of a field, in reading order
    "corpus": "Tested on",
    "trained_on": "Trained on",
    "setting": "Setting",
    "sampler": "Sampling",
    "adapt": "Adaptation",
    "encoder": "Encoder",
    "window": "Window",
    "head": "Head",
    "label_set": "Label set",
    "protocol": "Protocol",
    "compared_with": "Compared with",
}
METRIC_NAMES = {"uar": "UAR", "macro_f1": "Macro-F1", "accuracy": "Accuracy", "shapley": "Shapley"}
NO_SHARES = {"mean rank", "rank-biserial correlation", "standardised difference"}
NONE = "–"  # where nothing is to be said
INTERVAL = "95 % interval"


def is_share(row: Row) -> bool:
    """Return whether a number is a share of one; what has a unit names it, as "memory (MB)"."""
    return "(" not in row.metric and row.metric not in NO_SHARES


def number(row: Row, value: float) -> str:
    """Format a number of a row: percent, points of a hundred with their sign, or as it is."""
    if not is_share(row):
        if row.metric in NO_SHARES:
            return f"{value:.2f}"
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return points(value) if row.kind == DIFFERENCE else percent(value)


def interval(row: Row) -> str:
    """Format the 95 % interval of a row."""
    if row.low is None or row.high is None:
        return "none"
    return f"{number(row, row.low)} to {number(row, row.high)}"


def probability(value: float | None) -> str:
    """Format a p-value to two digits that count; small ones as a bound."""
    if value is None:
        return NONE
    return "<0.001" if value < 0.001 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def metric(row: Row) -> str:
    """Return a metric's name, with the unit of its numbers."""
    spelt = row.metric[:1].upper() + row.metric[1:].replace("_", " ")
    name = METRIC_NAMES.get(row.metric, spelt)
    if not is_share(row):
        return name
    return f"{name}, points" if row.kind == DIFFERENCE else f"{name}, %"


def field_text(row: Row, name: str) -> str:
    """Return what a field of a row says to a reader; a protocol names what it leaks."""
    value = str(getattr(row, name))
    if name == "protocol" and row.leaks:
        return f"{value} (leaks {', '.join(leaks(row))})"
    if name == "compared_with":  # another run: what it has that the row's run has not
        value = " ".join(part for part in value.split() if part not in row.run.split()) or value
    return value or NONE


def leaks(row: Row) -> list[str]:
    """Return what a row's protocol does not promise."""
    return [name.strip() for name in row.leaks.split(",") if name.strip()]


def setting_number(setting: str) -> float | None:
    """Return the number that a setting gives, "clips=5" or "noise:10"; None where it gives none."""
    try:
        return float(setting.replace(":", "=").rpartition("=")[2])
    except ValueError:
        return None


def setting_name(setting: str) -> str:
    """Return what a setting sets: "clips" of "clips=5"."""
    return setting.replace(":", "=").partition("=")[0]
