"""The defaults and bounds of the venue and of questions about it, for every interface."""

MAX_ZONES = 1_000
MAX_POINTS = 1_000  # of one zone, in all its rings
MAX_ID = 2**31 - 1  # of a zone
MAX_FILE_BYTES = 5 * 1024 * 1024  # of an imported file, as for a body of the API

# A visit: the gap between two pings in it, and the shortest duration that counts.
MAX_GAP_S, LONGEST_GAP_S = 120.0, 86_400.0
MIN_DURATION_S, LONGEST_MIN_DURATION_S = 60.0, 86_400.0
