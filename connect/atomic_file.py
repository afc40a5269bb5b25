"""Replaces files atomically. Standard library only: local/ uses it before the virtual environment exists."""

import os
import tempfile
from pathlib import Path


def write(path: Path, text: str, *, sync: bool = True) -> None:
    """Replaces the file by one with mode 600, in UTF-8. With `sync`, it survives a crash of the machine."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
