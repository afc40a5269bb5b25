"""Settings of a whole system, from the environment or from `.env`, beside what the manifests say.

Every process gets each setting that `.env.example` lists, unless NOT_PASSED_ON says who decides it instead;
HAProxy gets its own. A running system moves to a changed setting like to any other change.
"""

import ipaddress
import re

from local.instance import Instance, Refused, given, kept_secret

# The settings that differ from process to process, and who sets them.
NOT_PASSED_ON = {
    "DATABASE_URL": "local.runner: the given database or the private one, for processes that have one",
    "SECRET_KEY": "local.runner: the given key or a generated one, for processes that sign",
    "SERVICE_TOKEN": "local.runner: a generated one for each process that asks neighbours",
    "SERVICE_TOKENS": "local.runner: all of them, for the migration",
    "PROXY_SECRET": "local.runner: a generated one, for HAProxy and the web processes",
    "ACCESS": "local.instance: open unless given",
    "SERVED_APPS": "the manifests",
    "PERSONS_URL": "the manifests",
    "LOCATIONS_URL": "the manifests",
    "PINGS_URL": "the manifests, with the address of the broker from local.runner",
    "GRPC_ADDRESS": "local.rollout: a free port for each generation",
    "GRPC_PUBLIC_ADDRESS": "local.rollout: a free port for each generation",
    "QUOTA_FILE": "local.rollout: one file for all processes",
    "WRITER_STATE_FILE": "local.rollout: a file for each generation",
}
TOKENS_RATE = {
    "RATE_PER_TOKEN": "500",
    "RATE_PER_ADDRESS": "100",
}  # as connect.settings and k8s/proxy have it


def passed_on(instance: Instance) -> list[str]:
    """The names of the settings that every process gets."""
    listed = re.findall(
        r"^#?([A-Z][A-Z0-9_]*)=", (instance.checkout / ".env.example").read_text(), re.MULTILINE
    )
    return [name for name in listed if name not in NOT_PASSED_ON]


def wishes(instance: Instance) -> dict[str, str]:
    """The settings that are given. With a certificate clients' addresses are https, unless they are given."""
    found = {
        name: value for name in passed_on(instance) if (value := given(name, instance.checkout)) is not None
    }
    if "TLS_CERTIFICATE" in found:
        for name, port in (("API_URL", 30001), ("APP_URL", 30000)):
            found.setdefault(name, f"https://127.0.0.1:{instance.node_port(port)}")
    return found


def for_process(instance: Instance, environ: dict[str, str]) -> dict[str, str]:
    """A process's variables with what is wished; the hosts it is to answer to are more, not others."""
    wished = wishes(instance)
    if hosts := wished.pop("ALLOWED_HOSTS", None):
        environ = environ | {"ALLOWED_HOSTS": ",".join(filter(None, [environ.get("ALLOWED_HOSTS"), hosts]))}
    return environ | wished


def for_proxy(instance: Instance) -> dict[str, str]:
    """What k8s/proxy/defaults.cfg refers to. Where everybody may ask everything nobody is held back."""
    wished = wishes(instance)
    rates = {
        name: wished.get(name, "0" if instance.access == "open" else rate)
        for name, rate in TOKENS_RATE.items()
    }
    for name, rate in rates.items():
        if not rate.isdecimal():
            raise Refused(f"{name} is {rate!r}; it must be a whole number of requests a second, or 0.")
    told = {
        "APP_URL": wished.get("APP_URL", f"http://127.0.0.1:{instance.node_port(30000)}"),
        "PROXY_FILES": str(instance.checkout / "k8s" / "proxy"),
        "PROXY_SECRET": kept_secret(instance.state / "proxy-secret"),
        "TRUSTED_PROXIES": " ".join(networks(wished.get("TRUSTED_PROXIES", ""))),
        **rates,
    }
    return {name: value for name, value in told.items() if value}  # HAProxy takes no empty one


def networks(text: str) -> list[str]:
    try:
        return [str(ipaddress.ip_network(one.strip())) for one in text.split(",") if one.strip()]
    except ValueError as fault:
        raise Refused(f"TRUSTED_PROXIES: {fault}.") from None


def certificate(instance: Instance) -> str | None:
    """Certificate, chain and key in one text, as HAProxy wants them; None where there is to be no TLS."""
    wished = wishes(instance)
    paths = [instance.checkout / wished[name] for name in ("TLS_CERTIFICATE", "TLS_KEY") if name in wished]
    if not paths:
        return None
    if len(paths) == 1:
        raise Refused("TLS_CERTIFICATE and TLS_KEY belong together: give both, or none.")
    try:
        return "\n".join(path.read_text().rstrip() for path in paths) + "\n"
    except OSError as fault:
        raise Refused(f"TLS: {fault}") from None


def doors(instance: Instance) -> str:
    """Where clients' doors listen: on every address only where callers are known and nobody can listen in."""
    return "*" if instance.access == "tokens" and certificate(instance) is not None else "127.0.0.1"
