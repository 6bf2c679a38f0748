"""A folder tree of image files; the folder's name is the label."""

import os
from collections.abc import Iterator, Sequence

from pipelines.config import SourceSettings
from pipelines.records import Entry, Rejection, Split
from pipelines.sources.files import FileInfo, Files, Roots, scan
from pipelines.sources.splits import splits_by_folder


class FolderSource:
    """Every file of a tree that is neither hidden nor the system's own.

    Labels are the names of the parent folders, where there are two or more. Where the
    first level has ``train`` beside ``test``, ``val`` or ``eval``, these are the
    source's own split, and labels are looked for below them.
    """

    def __init__(self, settings: SourceSettings) -> None:
        self._files = Files(settings.path, settings.retries)
        self._wants_labels = settings.label == "auto"

    def roots(self) -> Roots:
        return self._files.prefixes()

    def list(self) -> Iterator[Entry]:
        if not self._files.local or not self._files.is_folder():
            yield from self._list_at_once()
            return
        root = self._files.root
        with os.scandir(root) as entries:
            splits = splits_by_folder(one.name for one in entries if one.is_dir())
        folders = (os.path.dirname(entry.path) for entry in scan(root))
        labelled = self._wants_labels and _two_labels(folders, root, splits)
        yield from self._entries(self._files.walk(), root, splits, labelled)

    def _list_at_once(self) -> Iterator[Entry]:
        found = list(self._files.walk())
        root = self._files.root
        first = {info.uri[len(root) + 1 :].split("/")[0] for info in found}
        splits = splits_by_folder(first)
        folders = (info.uri.rsplit("/", 1)[0] for info in found)
        labelled = self._wants_labels and _two_labels(folders, root, splits)
        yield from self._entries(iter(found), root, splits, labelled)

    def _entries(
        self,
        found: Iterator[FileInfo],
        root: str,
        splits: dict[str, Split],
        labelled: bool,
    ) -> Iterator[Entry]:
        known: dict[str, tuple[str | None, Split | None]] = {}
        for uri, size, modified, etag in found:
            folder = uri[: uri.rindex("/")]
            if folder not in known:
                known[folder] = _meaning(folder, root, splits)
            label, split = known[folder]
            yield Entry(
                uri, size, modified, etag, label if labelled else None, split, uri
            )

    def read(
        self, entries: Sequence[Entry]
    ) -> Iterator[tuple[Entry, bytes | Rejection]]:
        uris = [entry.source_uri for entry in entries]
        contents = self._files.read(uris, [entry.bytes for entry in entries])
        return zip(entries, contents, strict=True)


def _meaning(
    folder: str, root: str, splits: dict[str, Split]
) -> tuple[str | None, Split | None]:
    """Return the label and split that a folder's place in the tree gives its files."""
    parts = folder[len(root.rstrip("/")) :].split("/")[1:]
    split = splits.get(parts[0]) if parts else None
    if split:
        parts = parts[1:]
    return (parts[-1] if parts else None), split


def _two_labels(folders: Iterator[str], root: str, splits: dict[str, Split]) -> bool:
    """Return whether two files lie in folders of different names; looks no further."""
    first: str | None = None
    before = ""
    for folder in folders:
        if folder == before:
            continue
        before = folder
        label, _ = _meaning(folder, root, splits)
        if label and first and label != first:
            return True
        first = first or label
    return False
