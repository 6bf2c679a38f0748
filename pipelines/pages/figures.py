"""The gate's figures as the page shows them: one row each, with its interval drawn."""

from collections.abc import Mapping
from typing import Any, NamedTuple

ROWS = (
    ("linear", "Linear probe", "%", 1),
    ("knn", "k-NN, ten neighbours", "%", 1),
    ("psnr", "PSNR", "dB", 2),
    ("ssim", "SSIM", "", 3),
    ("error", "Squared error", "", 5),
    ("effective_rank", "Effective rank", "", 1),
    ("dead_dims", "Dead dimensions", "", 0),
)
"""Name, title, unit and digits of each figure that is shown."""


class Whisker(NamedTuple):
    """An interval drawn on a line: places in per cent of its width."""

    low: float
    middle: float
    high: float
    zero: float
    words: str
    good: bool


class Row(NamedTuple):
    """One figure of the three models; ``mark`` is ``pass``, ``fail`` or empty."""

    title: str
    unit: str
    candidate: str
    pca: str
    accepted: str
    over_pca: Whisker | None
    over_accepted: Whisker | None
    mark: str
    primary: bool


def rows(found: Mapping[str, Any]) -> list[Row]:
    """Return the rows of the table, from what evaluate left."""
    table = []
    for name, title, unit, digits in ROWS:
        if found["candidate"].get(name) is None:
            continue
        values = {
            model: _text((found.get(model) or {}).get(name), digits)
            for model in ("candidate", "pca", "accepted")
        }
        table.append(
            Row(
                title=title,
                unit=unit,
                **values,
                over_pca=_whisker(found, name, "pca"),
                over_accepted=_whisker(found, name, "accepted"),
                mark=_mark(found, name),
                primary=name == found["primary"],
            )
        )
    return table


def _text(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _mark(found: Mapping[str, Any], name: str) -> str:
    checks = [check["ok"] for check in found["checks"] if check["name"] == name]
    if not checks:
        return ""
    return "pass" if all(checks) else "fail"


def _whisker(found: Mapping[str, Any], name: str, against: str) -> Whisker | None:
    ends = found["intervals"][against].get(name)
    if ends is None or found.get(against) is None:
        return None
    low, high = ends
    gain = found["candidate"][name] - found[against][name]
    reach = _reach(found, against)
    low_at, middle, high_at, zero = (
        round(50.0 + 48.0 * max(-1.0, min(1.0, value / reach)), 2)
        for value in (low, gain, high, 0.0)
    )
    words = f"{gain:+.1f} ({low:+.1f} to {high:+.1f})".replace("-", "−")
    return Whisker(low_at, middle, high_at, zero, words, low > 0.0)


def _reach(found: Mapping[str, Any], against: str) -> float:
    """Return the largest end of any interval: all are drawn to one scale."""
    ends = [abs(end) for pair in found["intervals"][against].values() for end in pair]
    return max([end for end in ends if end == end], default=0.0) or 1.0
