"""The fixtures of consumers for a topic and a writer."""

from consumers.tests.conftest import (  # noqa: F401 - fixtures
    new_writer,
    observer,
    only_links_to_brokers,
    send,
    write_all,
    writer,
)
