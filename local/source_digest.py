"""What a process is made of besides its command and its variables."""

import hashlib
from pathlib import Path

NOT_RUN = {"tests", "__pycache__"}


def digest(checkout: Path) -> str:
    """Another digest means other code: another generation of each process, and other static files."""
    files = [checkout / "requirements.txt", checkout / "manage.py", checkout / ".env"]
    for package in checkout.glob("*/__init__.py"):
        if package.parent.name not in ("local", "tests"):
            files += [
                file
                for file in package.parent.rglob("*")
                if not NOT_RUN & set(file.relative_to(checkout).parts)
            ]
    found = hashlib.sha256()
    for file in sorted(files):
        if file.is_file():
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            found.update(f"{file.relative_to(checkout)} {content}\n".encode())
    return found.hexdigest()
