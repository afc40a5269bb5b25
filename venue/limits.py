"""The bounds of the venue, for every interface. Those of visits are in locations.limits."""

from locations.limits import MAX_AREA_POINTS

MAX_ZONES = 1_000
MAX_POINTS = 1_000  # of one zone, in all its rings
MAX_TOTAL_POINTS = MAX_AREA_POINTS  # of all zones together: a question about visits sends them
MAX_ID = 2**31 - 1  # of a zone
MAX_FILE_BYTES = 5 * 1024 * 1024  # of an imported file, as for a body of the API
