"""The bounds of webhooks and of what is stored about their deliveries, for every interface."""

from datetime import timedelta

EVENTS = ("encounter.started", "encounter.ended")

MAX_WEBHOOKS = 100
MAX_DURATION_S = 31 * 24 * 3600.0

# Of each webhook. Beyond MAX_WAITING the oldest are given up, beyond the others the oldest are deleted.
MAX_WAITING = 10_000
MAX_GIVEN_UP = 10_000
MAX_DELIVERED = 100_000
# A delivered one is kept, without its content, as long as the topic keeps messages: a repeated message is
# recognised by it.
KEEP_DELIVERED = timedelta(hours=24)
KEEP_GIVEN_UP = timedelta(days=30)

# From the message until it is given up.
PATIENCE = timedelta(hours=24)
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 3600.0
