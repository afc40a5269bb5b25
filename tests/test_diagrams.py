"""What the documents draw of the code and of the stages is as it is."""

from pathlib import Path

from local import diagrams, migration_doc
from local.instance import Instance

PLACE = Instance(state=Path("/nowhere"))


def test_the_committed_diagrams_agree_with_the_code():
    assert diagrams.TARGET.read_text() == diagrams.render(), "run `make diagrams`"


def test_the_story_of_the_migration_shows_the_stages_as_they_are_rendered():
    text = (PLACE.checkout / migration_doc.TARGET).read_text()
    assert migration_doc.told(PLACE, text) == text, "run `make render`"
