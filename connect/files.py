"""Reads import files, plain or gzip (detected by their first bytes), line by line in bounded memory."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

from tqdm import tqdm

LINE_LIMIT = 64 * 1024  # characters; longer than any valid row, and it bounds the memory
READ_ERRORS = (EOFError, OSError, zlib.error)
_GZIP = b"\x1f\x8b"


class Source(AbstractContextManager["Source"]):
    """An open import file, with a progress bar in bytes if stderr is a terminal.

    A read error (a truncated gzip, a bad disk) ends the reading and is stored in `fault`. The lines before it
    are complete and usable.
    """

    def __init__(self, path: Path):
        self.fault: str | None = None
        self._raw = path.open("rb")
        is_gzip = self._raw.read(2) == _GZIP
        self._raw.seek(0)
        self.stream: BinaryIO = cast("BinaryIO", gzip.GzipFile(fileobj=self._raw)) if is_gzip else self._raw
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
        """Like read() of a binary file; after a read error b"", as at the end."""
        if self.fault is not None:
            return b""
        try:
            return self.stream.read(size)
        except READ_ERRORS as fault:
            self.fault = _message(fault)
            return b""

    def __iter__(self) -> Iterator[str]:
        """The lines with their line endings.

        Invalid UTF-8 becomes lone surrogates. Lines longer than LINE_LIMIT are truncated. A line cut off by a
        read error is dropped: half a number looks like a number.
        """
        # Keep a reference: the wrapper closes the stream when it is garbage-collected.
        self._text = text = io.TextIOWrapper(self.stream, "utf-8-sig", "surrogateescape", newline="")
        try:
            while line := text.readline(LINE_LIMIT):
                rest = line
                while len(rest) == LINE_LIMIT and rest[-1] not in "\r\n":
                    rest = text.readline(LINE_LIMIT)
                yield line
        except READ_ERRORS as fault:
            self.fault = _message(fault)


def _message(fault: Exception) -> str:
    if isinstance(fault, EOFError):
        return "the gzip file is truncated"
    return f"the file cannot be read further: {fault}"
