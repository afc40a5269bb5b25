"""All environment variables of Connect are read here and nowhere else.

The defaults suit a laptop. A value of the wrong type stops the process at startup. All processes use these
settings; they differ in `SERVED_APPS` and the three neighbour URLs.
"""

import secrets
from datetime import timedelta
from pathlib import Path
from tempfile import gettempdir
from typing import Any
from urllib.parse import urlsplit

import environ
from corsheaders.defaults import default_headers
from csp.constants import NONE, SELF, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured

from connect import __version__

BASE_DIR = Path(__file__).resolve().parent.parent


class Environment(environ.Env):
    """Names the variable in the error for a value of the wrong type."""

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().get_value(var, *args, **kwargs)
        except ValueError as fault:
            raise ImproperlyConfigured(f"{var}: {fault}") from None


env = Environment()
# The folder in which `make up` keeps the system's data and settings (local/instance.py).
STATE_DIR = Path(env.str("CONNECT_STATE_DIR", default="") or BASE_DIR / ".local").absolute()
# The environment overrides .env, and .env overrides the file that `make up` writes. Processes of supervisord
# have a complete environment and read no file.
if not env.bool("SUPERVISOR_ENABLED", default=False):
    for file in (BASE_DIR / ".env", STATE_DIR / "env"):
        env.read_env(file)

DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])

# --- access (access/callers.py) -------------------------------------------------------------------

# open: every caller may do everything, so the processes listen on loopback only. tokens: callers need a
# token.
ACCESS = env.str("ACCESS", default="tokens")
if ACCESS not in ("open", "tokens"):
    raise ImproperlyConfigured(f"ACCESS is {ACCESS!r}; it must be open or tokens.")
# The `service` token that this process sends to its neighbours. Each process has its own.
SERVICE_TOKEN = env.str("SERVICE_TOKEN", default="")
# The tokens of all processes, which `migrate` registers: name=token,name=token.
SERVICE_TOKENS = env.dict("SERVICE_TOKENS", default={})

# --- served apps and neighbours ------------------------------------------------------------------

SERVABLE_APPS = (
    *("persons", "locations", "internal", "connections", "venue", "encounters", "live", "admin", "webapp"),
)
SERVED_APPS = env.list("SERVED_APPS", default=["persons", "locations", "connections", "venue", "admin"])
SERVED_APPS = [name.strip() for name in SERVED_APPS]
if unknown := set(SERVED_APPS) - set(SERVABLE_APPS):
    raise ImproperlyConfigured(f"SERVED_APPS contains {sorted(unknown)}; allowed are {SERVABLE_APPS}.")

PERSONS_URL = env.str("PERSONS_URL", default="local:")
LOCATIONS_URL = env.str("LOCATIONS_URL", default="local:")
PINGS_URL = env.str("PINGS_URL", default="local:")

# Only the admin site and the process that stores the tokens (and reads the sessions) need a shared signing
# key. Other processes generate a random one.
SIGNS = "admin" in SERVED_APPS or (PERSONS_URL == "local:" and not {*SERVED_APPS} <= {"webapp"})
LAPTOP_KEY = "a-key-for-one-laptop-only-set-your-own-anywhere-else"
SECRET_KEY = env.str("SECRET_KEY", default=LAPTOP_KEY if SIGNS else secrets.token_urlsafe(48))
if not SECRET_KEY or (SECRET_KEY == LAPTOP_KEY and ACCESS != "open"):
    raise ImproperlyConfigured(
        f"SECRET_KEY is not set, and {STATE_DIR / 'env'} does not contain one. `make up` starts a system "
        "and generates a key. Without `make up`, set SECRET_KEY (openssl rand -hex 32) and DATABASE_URL in "
        "the environment or in .env; .env.example lists all settings."
    )
# HAProxy sends it with every request. X-Forwarded-For is trusted only together with this secret.
PROXY_SECRET = env.str("PROXY_SECRET", default="")

# Placeholders of k8s/secrets/secrets.env.example are refused.
for name in (
    "SECRET_KEY",
    "SERVICE_TOKEN",
    "SERVICE_TOKENS",
    "PROXY_SECRET",
    "DATABASE_URL",
    "KAFKA_PASSWORD",
    "KAFKA_USERS",
):
    if "change-me" in env.str(name, default=""):
        raise ImproperlyConfigured(f"{name} has the value of the example. Set your own value.")

API_URL = env.str("API_URL", default="http://127.0.0.1:30001")  # for browsers
API_ORIGIN = urlsplit(API_URL)._replace(path="", query="", fragment="").geturl()
APP_URL = env.str("APP_URL", default="http://127.0.0.1:30000")
# The web app has two origins on one machine: 127.0.0.1 and localhost.
_APP = urlsplit(APP_URL)
_OTHER_NAME = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}.get(_APP.hostname or "")
APP_ORIGINS = [f"{_APP.scheme}://{_APP.netloc}"]
if _OTHER_NAME:
    APP_ORIGINS.append(f"{_APP.scheme}://{_APP.netloc.replace(_APP.hostname or '', _OTHER_NAME)}")

# PEM files of the processes with a client port: certificate with its chain, and key. With them these ports
# accept TLS only.
TLS_CERTIFICATE = env.str("TLS_CERTIFICATE", default="")
TLS_KEY = env.str("TLS_KEY", default="")
if bool(TLS_CERTIFICATE) != bool(TLS_KEY):
    raise ImproperlyConfigured("Set both TLS_CERTIFICATE and TLS_KEY, or neither.")
# Clients of the gRPC server verify its certificate with this CA (a PEM file) and this name, at any address.
# Empty disables TLS.
TLS_CA = env.str("TLS_CA", default="")
TLS_NAME = env.str("TLS_NAME", default="locations")

# Map tiles of the app, such as https://tile.example.org/{z}/{x}/{y}.png, and their attribution. The default
# is no tiles, because the tile server learns which areas users view.
TILES_URL = env.str("TILES_URL", default="")
TILES_ATTRIBUTION = env.str("TILES_ATTRIBUTION", default="")

# --- rate limits, the same for REST (k8s/proxy/defaults.cfg) and gRPC -----------------------------

# Requests per second, measured over 10 s, per token and per address; 0 is no limit. ACCESS=open has no limit,
# because the only caller is the user of the machine.
RATE_PER_TOKEN = env.int("RATE_PER_TOKEN", default=500 if ACCESS == "tokens" else 0)
RATE_PER_ADDRESS = env.int("RATE_PER_ADDRESS", default=100 if ACCESS == "tokens" else 0)
# Maximum range of a query for connections or encounters, in days; 0 is no limit.
MAX_RANGE_DAYS = env.int("MAX_RANGE_DAYS", default=0)
if min(RATE_PER_TOKEN, RATE_PER_ADDRESS, MAX_RANGE_DAYS) < 0:
    raise ImproperlyConfigured("RATE_PER_TOKEN, RATE_PER_ADDRESS and MAX_RANGE_DAYS must be 0 or more.")

# --- limits for person tokens and ingest tokens (docs/privacy.md) ----------------------------------

# In a person's encounters, an own ping counts only if it is reachable from the previous ping at this speed,
# in metres per second.
MAX_SPEED_M_S = env.float("MAX_SPEED_M_S", default=10.0)
if not 0.1 <= MAX_SPEED_M_S <= 1000:
    raise ImproperlyConfigured("MAX_SPEED_M_S must be from 0.1 to 1000.")
# Maximum age, in hours, of a ping sent with an ingest token.
INGEST_MAX_AGE_H = env.float("INGEST_MAX_AGE_H", default=72.0)
if not 0 < INGEST_MAX_AGE_H <= 876_000:
    raise ImproperlyConfigured("INGEST_MAX_AGE_H must be more than 0 and at most 876000.")
# An SQLite file with the quota of pings per person, shared by the processes of a machine or pod.
QUOTA_FILE = env.str("QUOTA_FILE", default=f"{gettempdir()}/connect-ping-quota.sqlite")
# Whether other people may find a new person by default.
FINDABLE_BY_DEFAULT = env.bool("FINDABLE_BY_DEFAULT", default=ACCESS == "open")

# --- the web server (connect/gunicorn.py) --------------------------------------------------------

WEB_WORKERS = env.int("WEB_WORKERS", default=2)
WEB_THREADS = env.int("WEB_THREADS", default=8)
if min(WEB_WORKERS, WEB_THREADS) < 1:
    raise ImproperlyConfigured("WEB_WORKERS and WEB_THREADS must be 1 or more.")
# Two threads are reserved for short calls. The others may wait on slow calls (connect.bulkhead), and two
# thirds of those may stream; a stream lasts as long as its reader.
WEB_PLACES = max(1, WEB_THREADS - 2)
WEB_STREAMS = max(1, WEB_PLACES * 2 // 3)
# Deadline in seconds for the start of a response, below the proxy's timeout; shorter for a person's token.
REQUEST_TIMEOUT_S = env.float("REQUEST_TIMEOUT_S", default=60.0)
PERSON_TIMEOUT_S = env.float("PERSON_TIMEOUT_S", default=20.0)

# --- the gRPC server of locations and its clients (grpc_server/) ---------------------------------

# GRPC_ADDRESS is for neighbours. GRPC_PUBLIC_ADDRESS is for clients and refuses service tokens.
_HOST = "127.0.0.1" if ACCESS == "open" else "0.0.0.0"  # noqa: S104 - a pod's own network
GRPC_ADDRESS = env.str("GRPC_ADDRESS", default=f"{_HOST}:50051")
GRPC_PUBLIC_ADDRESS = env.str("GRPC_PUBLIC_ADDRESS", default=f"{_HOST}:50052")
GRPC_THREADS = env.int("GRPC_THREADS", default=24)
# Lists last as long as their readers, so they have threads of their own, and so have questions. The other
# threads store pings and give short answers.
GRPC_STREAMS = max(1, (GRPC_THREADS - 4) // 4)
GRPC_QUESTIONS = max(1, (GRPC_THREADS - 4) // 3)
GRPC_TIMEOUT_S = env.float("GRPC_TIMEOUT_S", default=20.0)
GRPC_STREAM_TIMEOUT_S = env.float("GRPC_STREAM_TIMEOUT_S", default=3600.0)

# --- the topic of pings, its producers and its writer (consumers/) -------------------------------

KAFKA_TOPIC = env.str("KAFKA_TOPIC", default="locations")
KAFKA_GROUP = env.str("KAFKA_GROUP", default="location-writers")
# The maximum number of writers that work in parallel. All pings of a person are in one partition.
KAFKA_PARTITIONS = env.int("KAFKA_PARTITIONS", default=12)
if KAFKA_PARTITIONS < 1:
    raise ImproperlyConfigured("KAFKA_PARTITIONS must be 1 or more.")
# The topic of encounters, and the consumer group of the finder on the topic of pings.
KAFKA_ENCOUNTERS_TOPIC = env.str("KAFKA_ENCOUNTERS_TOPIC", default="encounters")
KAFKA_FINDER_GROUP = env.str("KAFKA_FINDER_GROUP", default="encounter-finders")
# How long the finder waits for pings that come out of order. Later ones cost more: what they change is found
# again in the database.
ENCOUNTERS_LATENESS_S = env.float("ENCOUNTERS_LATENESS_S", default=5.0)
if not 0 <= ENCOUNTERS_LATENESS_S <= 600:
    raise ImproperlyConfigured("ENCOUNTERS_LATENESS_S must be from 0 to 600.")
# Credentials for the brokers, with SCRAM-SHA-512; empty: no authentication.
KAFKA_USER = env.str("KAFKA_USER", default="")
KAFKA_PASSWORD = env.str("KAFKA_PASSWORD", default="")
if bool(KAFKA_USER) != bool(KAFKA_PASSWORD):
    raise ImproperlyConfigured("Set both KAFKA_USER and KAFKA_PASSWORD, or neither.")
# Users and passwords that `make_topic --encounters` creates at the brokers.
KAFKA_USERS = env.dict("KAFKA_USERS", default={})
# Timeout for the acknowledgement of a ping by the brokers; after it the ping is not accepted.
KAFKA_TIMEOUT_S = env.float("KAFKA_TIMEOUT_S", default=10.0)
if not 0.1 <= KAFKA_TIMEOUT_S <= 300:
    raise ImproperlyConfigured("KAFKA_TIMEOUT_S must be from 0.1 to 300.")
# A worker reports its liveness and progress here. Each one on a machine needs its own file.
WORKER_STATE_FILE = Path(env.str("WORKER_STATE_FILE", default=f"{gettempdir()}/connect-worker"))

# --- webhooks (webhooks/) --------------------------------------------------------------------------

KAFKA_WEBHOOKS_GROUP = env.str("KAFKA_WEBHOOKS_GROUP", default="webhooks")
# Whether a webhook may lead to a private, loopback or other address that is not public.
WEBHOOKS_ALLOW_PRIVATE = env.bool("WEBHOOKS_ALLOW_PRIVATE", default=False)

# --- retention of locations (privacy/retention.py) -----------------------------------------------

# 0: no limit.
RETENTION_DAYS = env.int("RETENTION_DAYS", default=365)
if not 0 <= RETENTION_DAYS <= 36_500:
    raise ImproperlyConfigured("RETENTION_DAYS must be from 0 to 36500.")

# --- Django --------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "connect.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.gis",
    "django.contrib.postgres",
    "corsheaders",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework_api_key",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "access",
    "persons",
    "locations",
    "connections",
    "grpc_server",
    "consumers",
    "phones",
    "privacy",
    "venue",
    "encounters",
    "webhooks",
    "simulation",
    "webapp",
]

MIDDLEWARE = [
    "connect.middleware.KnownCaller",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "connect.middleware.ReadableHeaders",
    "connect.middleware.NoStore",
    "connect.middleware.JsonForJsonClients",
    "connect.middleware.Refusals",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "access.second_factor.Required",
    "access.middleware.SessionUse",
    "access.middleware.AuditLog",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "connect.urls"
WSGI_APPLICATION = "connect.wsgi.application"
APPEND_SLASH = False  # a path with a trailing slash is a 404

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "connect" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {
    "default": env.db_url("DATABASE_URL", default="postgis://connect:connect@127.0.0.1:5432/connect")
}
# Empty for a process without a database; otherwise it must be PostGIS.
if DATABASES["default"].get("ENGINE", "").rpartition(".")[2] not in ("", "postgis", "postgresql") or (
    env.str("DATABASE_URL", default="") and not DATABASES["default"].get("NAME")
):
    raise ImproperlyConfigured("DATABASE_URL must be like postgis://user:password@host:5432/name.")
DATABASES["default"] |= {
    "CONN_MAX_AGE": env.int("CONN_MAX_AGE", default=600),
    "CONN_HEALTH_CHECKS": True,
}
# jit=off: cost estimates of the spatial queries are far too high, and compilation would take longer than
# execution. cursor_tuple_fraction=1: cursors are read to the end.
DATABASES["default"]["OPTIONS"] = {
    "connect_timeout": 5,
    "options": "-c jit=off -c work_mem=32MB -c cursor_tuple_fraction=1",
} | DATABASES["default"].get("OPTIONS", {})

SILENCED_SYSTEM_CHECKS = [
    "gis.W001",  # GDAL data for other spatial references; Connect only uses WGS84
    "security.W005",  # HSTS for subdomains: they may belong to others and have no TLS
    "security.W008",  # a redirect to https: a client port has either http or https, and neighbours use http
    "security.W021",  # HSTS preload: the owner of the host must decide it, and it is hard to revert
]

# --- browser security ----------------------------------------------------------------------------

# With TLS the proxy sets X-Forwarded-Proto (k8s/proxy/defaults.cfg), cookies are sent over TLS only, and
# browsers remember HSTS for a year, for this host only.
ENCRYPTED = API_URL.startswith("https://")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ENCRYPTED else None
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if ENCRYPTED else 0
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = ENCRYPTED
# With this prefix browsers accept the cookies only from this host over TLS, and send them only to it.
_COOKIE_PREFIX = "__Host-" if ENCRYPTED else ""
SESSION_COOKIE_NAME = f"{_COOKIE_PREFIX}sessionid"
CSRF_COOKIE_NAME = f"{_COOKIE_PREFIX}csrftoken"
# Seconds until a staff session ends: since its login, and since its last use (access/sessions.py).
SESSION_MAX_S = env.int("SESSION_MAX_S", default=12 * 3600)
SESSION_IDLE_S = env.int("SESSION_IDLE_S", default=3600)
if min(SESSION_MAX_S, SESSION_IDLE_S) < 1:
    raise ImproperlyConfigured("SESSION_MAX_S and SESSION_IDLE_S must be 1 or more.")
SESSION_ENGINE = "access.sessions"
# Require a code from an authenticator app for the admin site (access/second_factor.py).
STAFF_SECOND_FACTOR = env.bool("STAFF_SECOND_FACTOR", default=False)
OTP_TOTP_ISSUER = "Connect"
SESSION_COOKIE_AGE = SESSION_IDLE_S  # of the database row; the cookie lasts as long as the browser session
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
# The web app has its own origin and uses the sessions of staff who signed in at the admin site.
CSRF_TRUSTED_ORIGINS = [*APP_ORIGINS, *([API_ORIGIN] if ENCRYPTED else [])]

# No external resources and no inline scripts. Pages of DRF and Django use style attributes.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "style-src-attr": [UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF, *APP_ORIGINS],  # the login may redirect there
        "frame-ancestors": [NONE],
    }
}

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

# After ten wrong passwords a user name is locked out at that address, longer each time (access/lockout.py).
# The right password does not end the lockout, and further attempts do not extend it. `manage.py axes_reset`
# ends all lockouts.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_FAILURE_LIMIT = "access.lockout.failure_limit"
AXES_COOLOFF_TIME = timedelta(days=1)  # older failures do not count
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "access.lockout.client_address"
AXES_LOCKOUT_CALLABLE = "access.lockout.locked_out"
AXES_DISABLE_ACCESS_LOG = False  # the lockout reads the known addresses of a user from it
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "connect" / "static"]
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "connect.static_files.StaticFiles"},
}

BODY_LIMIT = 5 * 1024 * 1024  # bytes of one /api request; admin uploads have UPLOAD_LIMIT
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_LIMIT
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5000  # more than fit into the longest request line
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

CORS_ALLOWED_ORIGINS = [*APP_ORIGINS, *env.list("CORS_ALLOWED_ORIGINS", default=[])]
CORS_ALLOW_CREDENTIALS = True  # staff sessions
CORS_ALLOW_HEADERS = [*default_headers, "last-event-id"]  # of live events
CORS_EXPOSE_HEADERS = ["Link", "Location", "Retry-After"]
CORS_URLS_REGEX = r"^/(api|health)"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["access.authentication.Bearer", "access.authentication.Session"],
    "DEFAULT_PERMISSION_CLASSES": ["access.authentication.Allowed"],
    "DEFAULT_PARSER_CLASSES": ["connect.web.rest.Json"],
    "DEFAULT_RENDERER_CLASSES": [
        "connect.web.rest.JsonRenderer",
        "connect.web.rest.Page",
    ],
    "DEFAULT_SCHEMA_CLASS": "connect.web.openapi.Schema",
    "EXCEPTION_HANDLER": "connect.web.rest.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "call": {"()": "connect.request_context.RequestIdFilter"},
        "refusals": {"()": "connect.logs.ClientErrorRateLimit"},
    },
    "formatters": {
        "line": {
            "()": "connect.logs.TruncatingFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["call"]}},
    "loggers": {"django.request": {"filters": ["refusals"]}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Connect API",
    "VERSION": __version__,
    "DESCRIPTION": (
        "People at an event, where they were, and who was near whom, when and for how long.\n\n"
        "Times are UTC. Positions are WGS84 degrees. Arrays are never silently truncated: without `limit` "
        "the response contains all rows, streamed; with `limit` the `Link` header has the next page.\n\n"
        "The examples come from the event that `make up` simulates, on 2026-05-11: try them unchanged."
    ),
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},  # no external validator
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],  # the schema and the docs are public
    "SERVE_URLCONF": "connect.api_urls",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "connect.web.openapi.strict_bodies",
        "connect.web.openapi.retry_after",
    ],
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api",
}
