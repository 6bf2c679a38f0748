"""How a long command tells of itself: a bar on a terminal, lines in a log."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator

Teller = Callable[[str], None]
"""Is told what begins now."""

log = logging.getLogger(__name__)


@contextlib.contextmanager
def telling(steps: int) -> Iterator[Teller]:
    """Yield who is told of each of so many steps as it begins."""
    if not sys.stderr.isatty():
        yield log.info
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=steps)
        begun = 0

        def tell(words: str) -> None:
            nonlocal begun
            bars.update(task, description=words, completed=begun)
            begun += 1

        yield tell


@contextlib.contextmanager
def timed(seconds: float) -> Iterator[tuple[Teller, Callable[[], None]]]:
    """Yield who is told what happens, and who is called while time passes."""
    if not sys.stderr.isatty():
        yield log.info, lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=seconds)
        began = time.monotonic()

        def tick() -> None:
            bars.update(task, completed=min(seconds, time.monotonic() - began))

        def tell(words: str) -> None:
            bars.update(task, description=words)
            tick()

        yield tell, tick
