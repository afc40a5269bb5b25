"""A digest of the code that processes run: another one means new generations and new static files."""

import hashlib
from pathlib import Path

NOT_RUN = {"tests", "__pycache__"}


def digest(checkout: Path) -> str:
    files = [checkout / "requirements.txt", checkout / "manage.py", checkout / ".env"]
    for package in checkout.glob("*/__init__.py"):
        if package.parent.name not in ("local", "tests"):
            found = package.parent.rglob("*")
            files += [file for file in found if not NOT_RUN & set(file.relative_to(checkout).parts)]
    digest = hashlib.sha256()
    for file in sorted(files):
        if file.is_file():
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(checkout)} {content}\n".encode())
    return digest.hexdigest()
