"""The compacted topic of encounters, for programs that build on them. See docs/encounters.md.

Key: `a-b`, the two person ids in decimal, a < b. Value: JSON, the encounter as `a` sees it; null after one of
the two was deleted.
"""

from typing import Any

import orjson
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from django.conf import settings

from connect.errors import NeighbourUnavailable
from connect.wire_format import format_degrees, format_time, from_microseconds
from consumers import topic
from encounters.rows import Rows, keys

CONFIG = {
    "acks": "all",
    "enable.idempotence": True,
    "compression.type": "zstd",
    "linger.ms": 5,
    "queue.buffering.max.messages": 200_000,
    "queue.buffering.max.kbytes": 64 * 1024,
}
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
        before = dict(zip(keys(gone).tolist(), gone["ongoing"].tolist(), strict=True))
        after = set(keys(new).tolist())
        for key, row in zip(keys(gone).tolist(), gone, strict=True):
            if key not in after:
                self._send(row, WITHDRAWN)
        for key, row in zip(keys(new).tolist(), new, strict=True):
            if not (row["ongoing"] and before.get(key)):
                self._send(row, ONGOING if row["ongoing"] else ENDED)
        self._flush()

    def forget(self, pairs: list[tuple[int, int]]) -> None:
        """Sends tombstones: the topic then forgets these pairs of people."""
        for a, b in pairs:
            self._produce(_key(a, b), None)
        self._flush()

    def _send(self, row: Any, state: str) -> None:
        self._produce(_key(int(row["person_a_id"]), int(row["person_b_id"])), encode(row, state))

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


def encode(row: Any, state: str) -> bytes:
    """The value of one encounter (a row of ENCOUNTER)."""
    start, end = (from_microseconds(int(row[name])) for name in ("start", "end"))
    return orjson.dumps(
        {
            "person_ids": [int(row["person_a_id"]), int(row["person_b_id"])],
            "start": format_time(start),
            "end": format_time(end),
            "duration_s": (end - start).total_seconds(),
            "pings": int(row["pings_b"]),
            "min_distance_m": float(row["min_distance_m"]),
            "latitude": format_degrees(float(row["latitude_a"])),
            "longitude": format_degrees(float(row["longitude_a"])),
            "state": state,
        }
    )
