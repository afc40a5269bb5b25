"""Settings of a whole system from the environment or `.env`, in addition to those of the manifests.

Every process gets each setting that `.env.example` lists, except those in NOT_PASSED_ON. HAProxy has its own.
A changed setting is applied to a running system like any other change.
"""

import ipaddress
import re
from secrets import token_urlsafe

from local.instance import Instance, Refused, given, kept_secret

# Settings that differ between processes, by what sets them.
SET_BY = {
    "local.runner": ("DATABASE_URL", "SECRET_KEY", "SERVICE_TOKEN", "SERVICE_TOKENS", "PROXY_SECRET"),
    "local.instance": ("ACCESS",),
    "local.seed": ("SIMULATE_LIVE",),
    "local.rollout": ("GRPC_ADDRESS", "GRPC_PUBLIC_ADDRESS", "QUOTA_FILE", "WORKER_STATE_FILE"),
    "the manifests": ("SERVED_APPS", "PERSONS_URL", "LOCATIONS_URL", "PINGS_URL", "KAFKA_USERS"),
}
NOT_PASSED_ON = {name for names in SET_BY.values() for name in names}
RATES = {"RATE_PER_TOKEN": "500", "RATE_PER_ADDRESS": "100"}  # with ACCESS=tokens; as in connect.settings


def overrides(instance: Instance) -> dict[str, str]:
    """The given settings. With a certificate, addresses for clients are https unless they are given."""
    example = (instance.checkout / ".env.example").read_text()
    listed = re.findall(r"^#?([A-Z][A-Z0-9_]*)=", example, re.MULTILINE)
    found = {
        name: value for name in listed if name not in NOT_PASSED_ON and (value := given(name)) is not None
    }
    if "TLS_CERTIFICATE" in found:
        for name, port in (("API_URL", 30001), ("APP_URL", 30000)):
            found.setdefault(name, f"https://127.0.0.1:{instance.node_port(port)}")
    return found


def for_process(instance: Instance, environ: dict[str, str]) -> dict[str, str]:
    """The variables of a process with the overrides. ALLOWED_HOSTS adds hosts to those of the manifests."""
    found = overrides(instance)
    if hosts := found.pop("ALLOWED_HOSTS", None):
        environ = environ | {"ALLOWED_HOSTS": ",".join(filter(None, [environ.get("ALLOWED_HOSTS"), hosts]))}
    return environ | found


def for_proxy(instance: Instance) -> dict[str, str]:
    """The variables in k8s/proxy/defaults.cfg. With ACCESS=open there are no rate limits."""
    found = overrides(instance)
    rates = RATES if instance.access == "tokens" else dict.fromkeys(RATES, "0")
    rates = {name: found.get(name, rate) for name, rate in rates.items()}
    for name, rate in rates.items():
        if not rate.isdecimal():
            raise Refused(f"{name} is {rate!r}; it must be a whole number of requests per second, or 0.")
    trusted = filter(None, map(str.strip, found.get("TRUSTED_PROXIES", "").split(",")))
    try:
        networks = [str(ipaddress.ip_network(one)) for one in trusted]
    except ValueError as fault:
        raise Refused(f"TRUSTED_PROXIES: {fault}.") from None
    variables = {
        "APP_URL": found.get("APP_URL", f"http://127.0.0.1:{instance.node_port(30000)}"),
        "PROXY_FILES": str(instance.checkout / "k8s" / "proxy"),
        "PROXY_SECRET": kept_secret(instance.state / "proxy-secret", token_urlsafe()),
        "TRUSTED_PROXIES": " ".join(networks),
        **rates,
    }
    return {name: value for name, value in variables.items() if value}  # HAProxy refuses an empty one


def certificate(instance: Instance) -> str | None:
    """Certificate, chain and key in one text, as HAProxy needs them; None without TLS."""
    found = overrides(instance)
    paths = [instance.checkout / found[name] for name in ("TLS_CERTIFICATE", "TLS_KEY") if name in found]
    if not paths:
        return None
    if len(paths) == 1:
        raise Refused("Set both TLS_CERTIFICATE and TLS_KEY, or neither.")
    try:
        return "\n".join(path.read_text().rstrip() for path in paths) + "\n"
    except OSError as fault:
        raise Refused(f"TLS: {fault}") from None


def public_address(instance: Instance) -> str:
    """The address on which HAProxy listens for clients: every one with tokens and TLS, else loopback."""
    return "*" if instance.access == "tokens" and certificate(instance) is not None else "127.0.0.1"
