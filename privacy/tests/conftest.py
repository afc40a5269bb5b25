"""A topic with messages of any kind, and a writer to be stepped: as the tests of consumers have them."""

from consumers.tests.conftest import (  # noqa: F401 - fixtures
    new_writer,
    observer,
    only_links_to_brokers,
    send,
    write_all,
    writer,
)
