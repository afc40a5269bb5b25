"""The token of a phone: as Bearer, as the password of Basic, or as OsmAnd's `id`.

A token is never in a path, because paths are logged.
"""

import base64
from collections.abc import Mapping
from typing import Any

from phones import osmand
from phones.reading import PhoneRequest

PATHS = "/api/phones/"
_OSMAND = f"{PATHS}osmand"


def is_phone(path: str) -> bool:
    return path.startswith(PATHS)


def phone_request(environ: Mapping[str, Any], body: bytes) -> PhoneRequest:
    return PhoneRequest(
        content_type=environ.get("CONTENT_TYPE", ""),
        query=environ.get("QUERY_STRING", ""),
        body=body,
        user=_basic(environ.get("HTTP_AUTHORIZATION", ""))[0],
    )


def authorization(environ: Mapping[str, Any], body: bytes) -> str:
    """The value of an Authorization header with the phone's token as Bearer; empty if it sends none."""
    given: str = environ.get("HTTP_AUTHORIZATION", "")
    if environ["PATH_INFO"] == _OSMAND:
        token = osmand.device_of(phone_request(environ, body))
    else:
        token = _basic(given)[1]
    return f"Bearer {token}" if token else given


def _basic(value: str) -> tuple[str, str]:
    """The user name and the password of `Basic ...`; empty texts for any other value."""
    scheme, _, encoded = value.strip().partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return user.strip(), password.strip()
