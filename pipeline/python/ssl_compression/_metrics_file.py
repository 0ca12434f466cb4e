"""The lines that a run adds to its metrics.jsonl."""

from __future__ import annotations

from pathlib import Path


class NewLines:
    """Reads the lines of a file that were not in it when the object was made.

    A run that goes on first drops the lines behind its checkpoint and then adds new ones. They
    differ from those that were dropped, since each has its time: a new line is where the file stops
    to be what it was.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = self._bytes(0)
        self._seen: tuple[int, int] | None = self._stamp()
        self._read: int | None = None if self._before else 0

    def read(self) -> list[str]:
        """Returns the complete lines that have come since the last call."""
        stamp = self._stamp()
        if stamp == self._seen:
            return []
        self._seen = stamp
        if self._read is None:
            self._read = self._first_new(self._bytes(0))
            if self._read is None:
                return []
        new = self._bytes(self._read)
        new = new[: new.rfind(b"\n") + 1]
        self._read += len(new)
        return new.decode().splitlines()

    def _first_new(self, now: bytes) -> int | None:
        """Returns where the first new line begins; None if all that is there is old."""
        begin = 0
        for line in now.splitlines(keepends=True):
            end = begin + len(line)
            if self._before[begin:end] != line:
                return begin
            begin = end
        return None

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size

    def _bytes(self, begin: int) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(begin)
                return file.read()
        except FileNotFoundError:
            return b""
