"""The dependencies of a consumer: the tables of the database and a topic of the broker."""

import logging
import threading
from collections.abc import Callable

from confluent_kafka import KafkaError
from django.db import Error, connection
from django.db.models import Model

from connect.errors import NeighbourUnavailable
from consumers import topic
from consumers.state_file import StateFile

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0

logger = logging.getLogger(__name__)


def wait(stop_requested: threading.Event, state: StateFile, missing: Callable[[], str | None]) -> bool:
    """Waits until nothing is missing; False if a stop is requested meanwhile.

    This keeps a restarted process from failing in a loop. Raises BrokerRefused for wrong credentials. Missing
    rights do not end it, because the job that creates the topic may grant them later.
    """
    pause_s = FIRST_PAUSE_S
    while not stop_requested.is_set():
        state.update("waiting")
        found = missing()
        if found is None:
            return True
        logger.warning("Waiting %.1f s: %s", pause_s, found)
        stop_requested.wait(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    return False


def missing(table: type[Model], topic_name: str) -> str | None:
    """`database: …` or `broker: …` with the error; None if both are available. Raises BrokerRefused."""
    errors: list[KafkaError] = []
    try:
        table._default_manager.exists()  # noqa: SLF001 - Django's documented name
        client = topic.admin(error_cb=errors.append)
        topic.partitions_of(client, topic_name)
    except Error as error:
        return f"database: {error}".strip()
    except NeighbourUnavailable as error:
        client.poll(0)  # only the callback knows why a request timed out
        if refusal := next(filter(topic.is_fatal, errors), None):
            raise topic.unavailable(refusal) from error
        return f"broker: {error}"
    finally:
        connection.close()  # the workers have their own connections
    return None
