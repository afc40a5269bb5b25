"""Authentication of phone apps, most of which cannot send a Bearer token."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.request import Request

from access.authentication import Bearer
from phones import credentials


class _PhoneToken(Bearer):
    """The token of phones.credentials: as Bearer, or where the app of this path puts it."""

    def authorization(self, request: Request) -> str | None:
        return credentials.authorization(request.META, request.body) or None


class BasicToken(_PhoneToken):
    """For apps with Basic, some of which send the password only when they are asked for it."""

    def authenticate_header(self, request: Request) -> str:
        return 'Basic realm="Connect", charset="UTF-8"'


class DeviceToken(_PhoneToken):
    """For apps that send only the name of their device."""


class _BasicScheme(OpenApiAuthenticationExtension):
    target_class = BasicToken
    name = "phone"
    priority = 1

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "basic",
            "description": "For phone apps: any user name, and an `ingest` token as the password.",
        }


class _DeviceScheme(OpenApiAuthenticationExtension):
    target_class = DeviceToken
    name = "device"
    priority = 1

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "query",
            "name": "id",
            "description": "For OsmAnd and Traccar Client: an `ingest` token as the name of the device.",
        }
