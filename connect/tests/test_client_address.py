"""Whose word on a client's address is believed."""

from typing import Any

import pytest
from django.test import RequestFactory

from connect.middleware import client_address

SHOWN = "the-proxy-knows-it"


@pytest.mark.parametrize("configured", [SHOWN, ""])
@pytest.mark.parametrize("shown", [None, "", "something-else", SHOWN])
def test_the_header_of_the_proxy_alone_is_believed(settings: Any, configured: str, shown: str | None) -> None:
    settings.PROXY_SECRET = configured
    headers = {"X-Forwarded-For": "9.9.9.9"} | ({} if shown is None else {"X-Connect-Proxy": shown})
    request = RequestFactory().get("/admin/login/", headers=headers, REMOTE_ADDR="10.0.0.7")
    believed = configured == SHOWN == shown
    assert client_address(request.META) == ("9.9.9.9" if believed else "10.0.0.7")
