from typing import Any

import pytest


@pytest.fixture
def everything_served(settings: Any) -> None:
    """By default a process does not serve everybody's encounters."""
    settings.ROOT_URLCONF = "encounters.tests.urls"
