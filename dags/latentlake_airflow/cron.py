"""Judge a cron expression: one that Airflow refused would take every DAG with it."""

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
MONTHS = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
DAYS = "sun", "mon", "tue", "wed", "thu", "fri", "sat"
FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: at for at, name in enumerate(MONTHS, 1)}),
    ("day of the week", 0, 7, {name: at for at, name in enumerate(DAYS)}),
)


def check(expression: object) -> None:
    """Raise ``ValueError`` where ``expression`` is neither cron nor a preset."""
    if expression in PRESETS:
        return
    words = expression.split() if isinstance(expression, str) else []
    if len(words) != len(FIELDS):
        raise ValueError(
            f"schedule.cron: found {expression!r}; use 'none', one of "
            f"{', '.join(PRESETS)}, or five fields like '30 2 * * *'"
        )
    for word, (name, low, high, names) in zip(words, FIELDS, strict=True):
        for part in word.lower().split(","):
            if not _fits(part, low, high, names):
                raise ValueError(
                    f"schedule.cron: found {expression!r}; its {name}, {word!r}, "
                    f"must be *, or numbers from {low} to {high}"
                )


def _fits(part: str, low: int, high: int, names: dict[str, int]) -> bool:
    """Return whether ``part`` is ``*``, a number, or a range, perhaps with a step."""
    span, slash, step = part.partition("/")
    if slash and not (step.isdecimal() and int(step) > 0):
        return False
    if span == "*":
        return True
    ends = [names.get(end, int(end) if end.isdecimal() else -1) for end in _ends(span)]
    return all(low <= end <= high for end in ends) and ends == sorted(ends)


def _ends(span: str) -> list[str]:
    return span.split("-", 1)
