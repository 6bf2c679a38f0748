"""How training tells people of itself: a bar on a terminal, a line in a log."""

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator

from rich.progress import Progress, TaskID

log = logging.getLogger(__name__)


class _Lines:
    """Logs one line an epoch.

    Attributes:
        epochs: How many there are at most.
        then: What is done after each.
    """

    def __init__(self, epochs: int, then: Callable[[], None]) -> None:
        self.epochs, self.then = epochs, then

    def epoch_begins(self, epoch: int, steps: int) -> None:
        """Nothing is said before there is something to say."""

    def step_done(self, step: int, loss: float) -> None:
        """A log has no use for steps."""

    def epoch_done(self, record: dict[str, float]) -> None:
        """Log what the epoch came to."""
        log.info("train: %s", sentence(record, self.epochs))
        self.then()


class _Bars(_Lines):
    """Shows one bar an epoch."""

    def __init__(self, epochs: int, then: Callable[[], None], bars: Progress) -> None:
        super().__init__(epochs, then)
        self._bars = bars
        self._task: TaskID | None = None

    def epoch_begins(self, epoch: int, steps: int) -> None:
        """Begin a bar."""
        name = f"epoch {epoch}/{self.epochs}"
        self._task = self._bars.add_task(name, total=steps)

    def step_done(self, step: int, loss: float) -> None:
        """Move the bar on."""
        if self._task is not None:
            self._bars.update(self._task, completed=step)

    def epoch_done(self, record: dict[str, float]) -> None:
        """Leave the losses beside the full bar."""
        if self._task is not None:
            words = sentence(record, self.epochs)
            self._bars.update(self._task, description=words)
        self.then()


def sentence(record: dict[str, float], epochs: int) -> str:
    """Return what an epoch came to, in one line; a pass of sums has only its time."""
    words = [f"epoch {record['epoch']:.0f}/{epochs}"]
    names = {"loss": "loss", "val_loss": "held-out loss"}
    words += [
        f"{name} {record[key]:.5f}" for key, name in names.items() if key in record
    ]
    if "learning_rate" in record:
        words.append(f"rate {record['learning_rate']:g}")
    words.append(f"{record['seconds']:.1f} s")
    return ", ".join(words)


@contextlib.contextmanager
def progress(epochs: int, then: Callable[[], None]) -> Iterator[_Lines]:
    """Yield who is to be told: bars where a person looks on, lines elsewhere.

    ``then`` is called after each epoch, once its checkpoint is written.
    """
    if not sys.stderr.isatty():
        yield _Lines(epochs, then)
        return
    from rich.console import Console

    with Progress(console=Console(stderr=True)) as bars:
        yield _Bars(epochs, then, bars)
