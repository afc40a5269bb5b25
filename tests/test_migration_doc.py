"""docs/migration.md shows the stages as they are rendered."""

from pathlib import Path

from local import migration_doc
from local.instance import Instance

INSTANCE = Instance(state=Path("/nowhere"))


def test_the_migration_document_shows_the_stages_as_they_are_rendered() -> None:
    text = (INSTANCE.checkout / migration_doc.TARGET).read_text()
    assert migration_doc.updated(INSTANCE, text) == text, "run `make render`"
