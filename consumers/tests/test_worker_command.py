"""The exit status tells a supervisor whether a new start can help."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError
from django.db import InterfaceError, OperationalError

from connect.errors import NeighbourUnavailable
from consumers.topic import BrokerRefused
from consumers.worker_command import WorkerCommand


class Worker(WorkerCommand):
    worker = "finder"


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (BrokerRefused("no right"), 2, "The broker refuses this finder, nothing is lost: no right"),
        (ImproperlyConfigured("PINGS_URL"), 2, "PINGS_URL"),
        (NeighbourUnavailable("no answer"), 1, "Out of reach, nothing is lost: no answer"),
        (OperationalError("no answer"), 1, "Out of reach, nothing is lost: no answer"),
        (InterfaceError("no answer"), 1, "Out of reach, nothing is lost: no answer"),
        (CommandError("own", returncode=3), 3, "own"),
    ],
)
def test_an_error_that_ends_a_worker_has_its_exit_status(error: Exception, status: int, text: str):
    with pytest.raises(CommandError) as ended, Worker().exit_status():
        raise error
    assert (ended.value.returncode, str(ended.value)) == (status, text)
