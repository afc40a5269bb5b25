import pytest

from connections.tests.scenario import stand
from persons.models import Person


@pytest.fixture
def meeting(ann: Person, bo: Person) -> None:
    """Ann and Bo stand 3 metres apart for two minutes. Half an hour later they meet for an instant."""
    stand(ann, 0, 30, 60, 90, 120)
    stand(bo, 1, 31, 61, 91.5, metres=3)
    stand(ann, 1800)
    stand(bo, 1800, metres=1)
