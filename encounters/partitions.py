"""The monthly partitions of the encounters table, by the start of an encounter."""

from connect.partitions import MonthlyPartitions

PARTITIONS = MonthlyPartitions("encounters_encounter")
