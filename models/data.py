"""TFRecords of examples → batches, in NumPy alone: no TensorFlow, no Keras.

Records are read one by one from where an index says they lie, so that a corpus may be
larger than memory and its order may be any.
"""

import contextlib
import os
import queue
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from mmap import ACCESS_READ, mmap
from typing import NamedTuple

import numpy as np

from models import tfrecord
from models.spec import IMAGE, IMAGE_ID, LABEL, ImageShape

OPEN_FILES = 128
"""Files kept open at once; a corpus may have thousands."""

_TAIL = 4  # bytes of the checksum behind a payload


class Batch(NamedTuple):
    """Some examples.

    Attributes:
        images: float32, (n, height, width, channels).
        image_ids: The digest of each image's bytes.
        labels: The label of each, or ``None``.
    """

    images: np.ndarray
    image_ids: list[str]
    labels: list[str | None]


class InFile(NamedTuple):
    """Some examples of one file.

    Attributes:
        path: The file.
        rows: Which of its records they are.
    """

    path: str
    rows: np.ndarray


class Examples:
    """The examples in some TFRecord files, by number.

    Attributes:
        paths: The files, in the order that numbers the examples.
        shape: The shape of every image.
    """

    def __init__(self, paths: Sequence[str], shape: ImageShape) -> None:
        self.paths = [os.fspath(path) for path in paths]
        self.shape = shape
        found = [_index(path) for path in self.paths]
        self._frames = np.concatenate([np.empty((0, 2), np.int64), *found])
        self._ends = np.cumsum([len(frames) for frames in found], dtype=np.int64)
        self._files = _Files()

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, rows: Sequence[int] | np.ndarray) -> Batch:
        """Return the examples of these numbers, in this order.

        Raises:
            ValueError: A record is damaged, or its image has another size; the
                message names the file and the record.
        """
        wanted = np.asarray(rows, np.int64)
        images = np.empty((len(wanted), self.shape.size), np.float32)
        ids: list[str] = []
        labels: list[str | None] = []
        files = np.searchsorted(self._ends, wanted, side="right")
        numbers = wanted - np.concatenate([[0], self._ends])[files]
        places = zip(files.tolist(), numbers.tolist(), strict=True)
        frames = self._frames[wanted].tolist()
        for place, ((file, number), frame) in enumerate(
            zip(places, frames, strict=True)
        ):
            features = self._features(self.paths[file], number, *frame)
            images[place] = features[IMAGE]
            ids.append(_text(features.get(IMAGE_ID)) or "")
            labels.append(_text(features.get(LABEL)))
        return Batch(images.reshape(-1, *self.shape), ids, labels)

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """Return the numbers of all examples, shuffled by ``seed`` and ``epoch``.

        Nothing else goes in: a run that was cut off sees the same order again.
        """
        return np.random.default_rng([seed, epoch]).permutation(len(self))

    def batches(
        self, size: int, order: Sequence[int] | np.ndarray | None = None
    ) -> Iterator[Batch]:
        """Yield all examples, or those in ``order``, in batches of ``size``.

        One batch is read ahead while the last one is used.
        """
        rows = np.arange(len(self)) if order is None else np.asarray(order)
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        return _ahead(self.read(part) for part in parts)

    def by_file(self, rows: np.ndarray) -> list[InFile]:
        """Return the files that hold ``rows``, which rise, and which each holds."""
        starts = np.concatenate([[0], self._ends[:-1]])
        cuts = np.searchsorted(rows, self._ends[:-1])
        return [
            InFile(path, mine - start)
            for path, start, mine in zip(
                self.paths, starts, np.split(rows, cuts), strict=True
            )
            if len(mine)
        ]

    def file_batches(self, size: int, rows: np.ndarray) -> Iterator[Batch]:
        """Yield ``rows``, which rise, in batches of at most ``size``, each of one file.

        So the batches of a file are the same, whatever other files there are.
        """
        cuts = np.searchsorted(rows, self._ends[:-1])
        parts = [
            mine[start : start + size]
            for mine in np.split(rows, cuts)
            for start in range(0, len(mine), size)
        ]
        return _ahead(self.read(part) for part in parts)

    def _features(
        self, path: str, number: int, start: int, length: int
    ) -> dict[str, tfrecord.Feature]:
        data = self._files.read(path, start, length + _TAIL)
        frame = tfrecord.Frame(0, length)
        payload = tfrecord.payload_of(memoryview(data), frame, path, number)
        features = tfrecord.decode_example(payload)
        image = features.get(IMAGE)
        if not isinstance(image, np.ndarray) or image.size != self.shape.size:
            found = image.size if isinstance(image, np.ndarray) else "no"
            raise ValueError(
                f"{path}: record {number} has {found} numbers in its image, and "
                f"{self.shape.size} were expected ({'×'.join(map(str, self.shape))})."
            )
        return features


class _Files:
    """A few open files, the ones used last.

    They are read by ``pread`` and not mapped: a mapping keeps a descriptor of its own
    for each file (there may be thousands), and the pages it touched count as memory.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: str, start: int, length: int) -> bytes:
        with self._lock:
            if path not in self._open:
                self._open[path] = os.open(path, os.O_RDONLY)
                if len(self._open) > OPEN_FILES:
                    os.close(self._open.popitem(last=False)[1])
            self._open.move_to_end(path)
            return os.pread(self._open[path], length, start)

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)


def _index(path: str) -> np.ndarray:
    """Return where each record of the file lies: (records, 2), start and length."""
    if not os.path.getsize(path):
        return np.empty((0, 2), np.int64)
    with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        view, found, damage = memoryview(data), [], ""
        try:
            found = list(tfrecord.frames(view, path))
        except ValueError as error:
            damage = str(error)  # its traceback holds the view, which has to go first
        view.release()
    if damage:
        raise ValueError(damage)
    return np.array(found, np.int64).reshape(-1, 2)


def _text(value: tfrecord.Feature | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else None


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield ``batches``, the next one being made in a thread meanwhile."""
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=1)
    stopped = threading.Event()

    def work() -> None:
        last: BaseException | None = None
        try:
            for batch in batches:
                ready.put(batch)
                if stopped.is_set():
                    return
        except BaseException as error:  # raised again where the batches are used
            last = error
        ready.put(last)

    thread = threading.Thread(target=work, name="examples", daemon=True)
    thread.start()
    try:
        while (one := ready.get()) is not None:
            if isinstance(one, BaseException):
                raise one
            yield one
    finally:
        stopped.set()
        while thread.is_alive():  # a full queue would hold the thread for ever
            with contextlib.suppress(queue.Empty):
                ready.get(timeout=0.05)
