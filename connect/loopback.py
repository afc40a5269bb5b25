"""`127.0.0.1` and `localhost` are the same machine, but two sites to a browser."""

from urllib.parse import urlsplit

from django.http import HttpRequest
from django.http.request import split_domain_port

HOSTS = ("127.0.0.1", "localhost")


def origins(url: str) -> list[str]:
    """The origin of `url`; for a loopback URL the origins of both host names."""
    parts = urlsplit(url)
    hosts = HOSTS if parts.hostname in HOSTS else (parts.hostname,)
    port = f":{parts.port}" if parts.port else ""
    return [f"{parts.scheme}://{host}{port}" for host in hosts]


def with_host_of(request: HttpRequest, url: str) -> str:
    """`url` with the host name of the request, if both are loopback names.

    Browsers keep the cookies of the two names apart, so the app and the admin site must use the same one.
    """
    parts = urlsplit(url)
    name, _ = split_domain_port(request.get_host())
    if parts.hostname not in HOSTS or name not in HOSTS:
        return url
    return parts._replace(netloc=parts.netloc.replace(parts.hostname, name)).geturl()
