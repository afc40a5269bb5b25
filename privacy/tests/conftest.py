"""A topic with messages of any kind, and a writer to be stepped: as the tests of consumers have them."""

from consumers.tests.conftest import (  # noqa: F401 - fixtures
    new_writer,
    no_producers_to_other_brokers,
    observer,
    send,
    write_all,
    writer,
)
