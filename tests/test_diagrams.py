"""The drawings of the code are of the code as it is."""

from local import diagrams


def test_the_committed_diagrams_agree_with_the_code():
    assert diagrams.TARGET.read_text() == diagrams.render(), "run `make diagrams`"
