"""The monthly partitions of the locations table: docs/decisions/0001-locations-table.md."""

from connect.partitions import (
    Busy,
    Month,
    MonthlyPartitions,
    execute_with_retries,
    is_lock_timeout,
    is_missing,
    months_of,
)

__all__ = [
    "PARTITIONS",
    "Busy",
    "Month",
    "ensure",
    "execute_with_retries",
    "is_lock_timeout",
    "is_missing",
    "months_of",
]

PARTITIONS = MonthlyPartitions("locations_location")

ensure = PARTITIONS.ensure
