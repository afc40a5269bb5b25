"""The two names of one machine, `127.0.0.1` and `localhost`. To a browser they are two sites."""

from urllib.parse import urlsplit

from django.http import HttpRequest
from django.http.request import split_domain_port

HOSTS = ("127.0.0.1", "localhost")


def origins(url: str) -> list[str]:
    """The origin of `url`; of a URL of this machine those under both names."""
    parts = urlsplit(url)
    hosts = HOSTS if parts.hostname in HOSTS else (parts.hostname,)
    port = f":{parts.port}" if parts.port else ""
    return [f"{parts.scheme}://{host}{port}" for host in hosts]


def with_host_of(request: HttpRequest, url: str) -> str:
    """`url` under the name by which the browser asked, where both are names of this machine.

    A browser keeps the cookies of the two names apart, so app and admin site must be under the same one.
    """
    parts = urlsplit(url)
    name, _ = split_domain_port(request.get_host())
    if parts.hostname not in HOSTS or name not in HOSTS:
        return url
    return parts._replace(netloc=parts.netloc.replace(parts.hostname, name)).geturl()
