"""The fixtures of consumers for a topic and a writer."""

from consumers.tests.conftest import (  # noqa: F401 - fixtures
    new_writer,
    no_producers_to_other_brokers,
    observer,
    send,
    write_all,
    writer,
)
