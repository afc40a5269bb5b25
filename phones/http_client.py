"""The `http:` implementation of the phones seam: calls phones.refusals in the persons process."""

from collections.abc import Mapping

from django.conf import settings

from connect import http

SILENT_S = 5.0  # phones wait for this answer


def count(app: str, refused: Mapping[tuple[int | None, str], int]) -> None:
    """See phones.refusals. A retry may count twice. Raises NeighbourUnavailable."""
    rows = [[person_id, reason, number] for (person_id, reason), number in refused.items()]
    body = {"app": app, "refused": rows}
    http.send(f"{settings.PERSONS_URL}/internal/refused-points", body, read_timeout_s=SILENT_S)
