"""Files on their way in: plain or gzip by their first bytes, read line by line in bounded memory."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

from tqdm import tqdm

LINE_LIMIT = 64 * 1024  # characters; no honest row is longer, and memory stays bounded whatever is sent
FAULTS = (EOFError, OSError, zlib.error)  # what reading a file, packed or not, can raise
_GZIP = b"\x1f\x8b"


class Source(AbstractContextManager["Source"]):
    """A file that is being read, with a progress bar in bytes where somebody watches.

    A fault on the way (a truncated gzip, a bad disk) ends the reading and stands in `fault`: what came
    before it is whole and can be used.
    """

    def __init__(self, path: Path):
        self.fault: str | None = None
        self._raw = path.open("rb")
        packed = self._raw.read(2) == _GZIP
        self._raw.seek(0)
        self.stream: BinaryIO = cast("BinaryIO", gzip.GzipFile(fileobj=self._raw)) if packed else self._raw
        self._bar = tqdm(
            total=path.stat().st_size,
            desc=path.name,
            unit="B",
            unit_scale=True,
            disable=None,  # None: off unless stderr is a terminal
        )

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.show_progress()
        self._bar.close()
        self.stream.close()
        self._raw.close()

    def show_progress(self) -> None:
        self._bar.update(self._raw.tell() - self._bar.n)

    def read(self, size: int = -1) -> bytes:
        """As of a binary file; at a fault as at the end."""
        if self.fault is not None:
            return b""
        try:
            return self.stream.read(size)
        except FAULTS as fault:
            self.fault = _in_words(fault)
            return b""

    def __iter__(self) -> Iterator[str]:
        """The lines, with their ends. Bytes that are not UTF-8 come as lone surrogates; a longer line is cut.

        A line that a fault breaks off is not given: half a number looks like a number.
        """
        # Kept, because it closes the stream when it goes.
        self._text = text = io.TextIOWrapper(self.stream, "utf-8-sig", "surrogateescape", newline="")
        try:
            while line := text.readline(LINE_LIMIT):
                rest = line
                while len(rest) == LINE_LIMIT and rest[-1] not in "\r\n":
                    rest = text.readline(LINE_LIMIT)
                yield line
        except FAULTS as fault:
            self.fault = _in_words(fault)


def _in_words(fault: Exception) -> str:
    if isinstance(fault, EOFError):
        return "the gzip file is truncated"
    return f"the file cannot be read on: {fault}"
