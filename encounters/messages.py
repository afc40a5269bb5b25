"""The compacted topic of encounters, for programs that build on them. See docs/encounters.md.

Key: `a-b`, the two person ids in decimal, a < b. Value: JSON, the encounter as `a` sees it; null after one of
the two was deleted.
"""

from collections.abc import Iterator

import orjson
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from django.conf import settings

from connect.errors import NeighbourUnavailable
from connect.wire_format import format_degrees, format_time, from_microseconds
from consumers import topic
from encounters.rows import Rows, is_among, keys

CONFIG = {
    "acks": "all",
    "enable.idempotence": True,
    "compression.type": "zstd",
    "linger.ms": 5,
    "queue.buffering.max.messages": 200_000,
    "queue.buffering.max.kbytes": 64 * 1024,
    "delivery.report.only.error": True,
}
_FIELDS = (  # as `a` sees it
    *("person_a_id", "person_b_id", "start", "end"),
    *("pings_b", "min_distance_m", "latitude_a", "longitude_a"),
)
ONGOING, ENDED, WITHDRAWN = "ongoing", "ended", "withdrawn"


class Publisher:
    """Sends what changes in the table to the topic."""

    def __init__(self) -> None:
        self._error: KafkaError | None = None
        self._producer = Producer(topic.client_config() | CONFIG)

    def tell(self, gone: Rows, new: Rows) -> None:
        """Sends the changes of one transaction and waits for the brokers. Raises NeighbourUnavailable.

        `gone` and `new` (ENCOUNTER) are the rows that it deletes and inserts. An encounter that only went on
        is not told again.
        """
        was_ongoing = is_among(keys(new), keys(gone[gone["ongoing"]]))
        self._send(gone[~is_among(keys(gone), keys(new))], WITHDRAWN)
        self._send(new[~new["ongoing"]], ENDED)
        self._send(new[new["ongoing"] & ~was_ongoing], ONGOING)  # what is compacted keeps the latest
        self._flush()

    def forget(self, pairs: list[tuple[int, int]]) -> None:
        """Sends tombstones: the topic then forgets these pairs of people."""
        for a, b in pairs:
            self._produce(_key(a, b), None)
        self._flush()

    def _send(self, rows: Rows, state: str) -> None:
        for key, value in encoded(rows, state):
            self._produce(key, value)

    def _produce(self, key: bytes, value: bytes | None) -> None:
        while True:
            try:
                self._producer.produce(
                    settings.KAFKA_ENCOUNTERS_TOPIC, value, key, on_delivery=self._on_delivery
                )
            except BufferError:
                self._flush()
            except KafkaException as error:
                raise topic.unavailable(error) from error
            else:
                return

    def _flush(self) -> None:
        left = self._producer.flush(settings.KAFKA_TIMEOUT_S)
        error, self._error = self._error, None
        if error is None and not left:
            return
        self._producer.purge()  # the transaction will be rolled back
        if error is not None:
            raise topic.unavailable(error)
        raise NeighbourUnavailable(f"{topic.brokers()}: no answer in time.")

    def _on_delivery(self, error: KafkaError | None, _: Message) -> None:
        self._error = error or self._error


def _key(a: int, b: int) -> bytes:
    return b"%d-%d" % (a, b)


def encoded(encounters: Rows, state: str) -> Iterator[tuple[bytes, bytes]]:
    """The key and the value of each encounter (ENCOUNTER)."""
    for a, b, start_us, end_us, pings, min_distance_m, latitude, longitude in zip(
        *(encounters[name].tolist() for name in _FIELDS), strict=True
    ):
        start, end = from_microseconds(start_us), from_microseconds(end_us)
        yield (
            _key(a, b),
            orjson.dumps(
                {
                    "person_ids": [a, b],
                    "start": format_time(start),
                    "end": format_time(end),
                    "duration_s": (end_us - start_us) / 1e6,
                    "pings": pings,
                    "min_distance_m": min_distance_m,
                    "latitude": format_degrees(latitude),
                    "longitude": format_degrees(longitude),
                    "state": state,
                }
            ),
        )
