"""X-Forwarded-For is trusted only from the proxy."""

from typing import Any

import pytest
from django.test import RequestFactory

from connect.middleware import client_address

PROXY_HEADER_VALUE = "the-proxy-knows-it"


@pytest.mark.parametrize("configured", [PROXY_HEADER_VALUE, ""])
@pytest.mark.parametrize("sent", [None, "", "something-else", PROXY_HEADER_VALUE])
def test_x_forwarded_for_is_used_only_with_the_proxy_secret(
    settings: Any, configured: str, sent: str | None
) -> None:
    settings.PROXY_SECRET = configured
    headers = {"X-Forwarded-For": "9.9.9.9"} | ({} if sent is None else {"X-Connect-Proxy": sent})
    request = RequestFactory().get("/admin/login/", headers=headers, REMOTE_ADDR="10.0.0.7")
    is_trusted = configured == PROXY_HEADER_VALUE == sent
    assert client_address(request.META) == ("9.9.9.9" if is_trusted else "10.0.0.7")
