"""Every environment variable that Connect knows, read here and nowhere else.

Each has a default that suits a laptop; a value of the wrong type stops the process at start. The same
settings serve every process: `SERVED_APPS` and the three neighbour URLs are all that differs.
"""

import secrets
from datetime import timedelta
from pathlib import Path
from tempfile import gettempdir
from typing import Any
from urllib.parse import urlsplit

import environ
from csp.constants import NONE, SELF, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


class Environment(environ.Env):
    """Names the variable whose value is of the wrong type."""

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().get_value(var, *args, **kwargs)
        except ValueError as fault:
            raise ImproperlyConfigured(f"{var}: {fault}") from None


env = Environment()
# The folder in which `make up` keeps the system's data and settings (local/instance.py).
STATE_DIR = Path(env.str("CONNECT_STATE_DIR", default="") or BASE_DIR / ".local").absolute()
# The environment wins over .env, and .env over what `make up` has made. supervisord gives its processes a
# complete environment; they read no file.
if not env.bool("SUPERVISOR_ENABLED", default=False):
    for file in (BASE_DIR / ".env", STATE_DIR / "env"):
        env.read_env(file)

DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])

# --- who may call (access/callers.py) -----------------------------------------------------------

# open: whoever reaches a process may do everything, so it listens on 127.0.0.1 alone. tokens: who shows one.
ACCESS = env.str("ACCESS", default="tokens")
if ACCESS not in ("open", "tokens"):
    raise ImproperlyConfigured(f"ACCESS is {ACCESS!r}; it must be open or tokens.")
# The token of the kind `service` that this process shows to its neighbours. Each process has its own.
SERVICE_TOKEN = env.str("SERVICE_TOKEN", default="")
# The tokens of all processes, which `migrate` admits: name=token,name=token.
SERVICE_TOKENS = env.dict("SERVICE_TOKENS", default={})

# --- which paths this process serves, and where its neighbours are -------------------------------

SERVABLE_APPS = ("persons", "locations", "internal", "connections", "admin", "webapp")
SERVED_APPS = env.list("SERVED_APPS", default=["persons", "locations", "connections", "admin"])
SERVED_APPS = [name.strip() for name in SERVED_APPS]
if unknown := set(SERVED_APPS) - set(SERVABLE_APPS):
    raise ImproperlyConfigured(f"SERVED_APPS names {sorted(unknown)}; known are {SERVABLE_APPS}.")

PERSONS_URL = env.str("PERSONS_URL", default="local:")
LOCATIONS_URL = env.str("LOCATIONS_URL", default="local:")
PINGS_URL = env.str("PINGS_URL", default="local:")

# The admin site signs, and so do sessions, which the process that keeps the tokens reads. Another process
# starts with a key that it makes for itself.
SIGNS = "admin" in SERVED_APPS or (PERSONS_URL == "local:" and not {*SERVED_APPS} <= {"webapp"})
LAPTOP_KEY = "a-key-for-one-laptop-only-set-your-own-anywhere-else"
SECRET_KEY = env.str("SECRET_KEY", default=LAPTOP_KEY if SIGNS else secrets.token_urlsafe(48))
if not SECRET_KEY or (SECRET_KEY == LAPTOP_KEY and ACCESS != "open"):
    raise ImproperlyConfigured(
        f"SECRET_KEY is not set, and {STATE_DIR / 'env'} has none. `make up` starts a system and makes a "
        "key. Without it set your own in the environment or in .env (openssl rand -hex 32), and "
        "DATABASE_URL; .env.example lists all settings."
    )
# HAProxy shows it with every request that it passes on: then its X-Forwarded-For is believed, else nobody's.
PROXY_SECRET = env.str("PROXY_SECRET", default="")

# What k8s/secrets/secrets.env.example has where an operator's own value belongs.
for name in (
    "SECRET_KEY",
    "SERVICE_TOKEN",
    "SERVICE_TOKENS",
    "PROXY_SECRET",
    "DATABASE_URL",
    "KAFKA_PASSWORD",
):
    if "change-me" in env.str(name, default=""):
        raise ImproperlyConfigured(f"{name} has the value of the example. Put your own there.")

API_URL = env.str("API_URL", default="http://127.0.0.1:30001")  # as a browser reaches it
API_ORIGIN = urlsplit(API_URL)._replace(path="", query="", fragment="").geturl()
APP_URL = env.str("APP_URL", default="http://127.0.0.1:30000")
# The web app is the same under both names of one machine.
_APP = urlsplit(APP_URL)
_OTHER_NAME = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}.get(_APP.hostname or "")
APP_ORIGINS = [f"{_APP.scheme}://{_APP.netloc}"]
if _OTHER_NAME:
    APP_ORIGINS.append(f"{_APP.scheme}://{_APP.netloc.replace(_APP.hostname or '', _OTHER_NAME)}")

# PEM files of whoever listens for clients: certificate with its chain, and key. Then it speaks TLS alone.
TLS_CERTIFICATE = env.str("TLS_CERTIFICATE", default="")
TLS_KEY = env.str("TLS_KEY", default="")
if bool(TLS_CERTIFICATE) != bool(TLS_KEY):
    raise ImproperlyConfigured("TLS_CERTIFICATE and TLS_KEY belong together: give both, or none.")
# Those who ask the gRPC server expect a certificate by this authority (a PEM file) for this name, at whatever
# address they ask. Empty is without TLS.
TLS_CA = env.str("TLS_CA", default="")
TLS_NAME = env.str("TLS_NAME", default="locations")

# The ground of the app's maps, such as https://tile.example.org/{z}/{x}/{y}.png, and whom to thank for it.
# Empty is plain ground: whoever serves tiles learns where people look.
TILES_URL = env.str("TILES_URL", default="")
TILES_ATTRIBUTION = env.str("TILES_ATTRIBUTION", default="")

# --- how much one may ask: the same at REST (k8s/proxy/defaults.cfg) and gRPC ----------------------

# Requests a second, measured over 10 s, by one token and from one address; 0 is no limit. Where everybody may
# ask everything there is none: who asks there is the one whose machine it is.
RATE_PER_TOKEN = env.int("RATE_PER_TOKEN", default=500 if ACCESS == "tokens" else 0)
RATE_PER_ADDRESS = env.int("RATE_PER_ADDRESS", default=100 if ACCESS == "tokens" else 0)
# The longest range of a question about connections or encounters, in days; 0 is no limit.
MAX_RANGE_DAYS = env.int("MAX_RANGE_DAYS", default=0)
if min(RATE_PER_TOKEN, RATE_PER_ADDRESS, MAX_RANGE_DAYS) < 0:
    raise ImproperlyConfigured("RATE_PER_TOKEN, RATE_PER_ADDRESS and MAX_RANGE_DAYS must be 0 or more.")

# --- what a person's token may ask, and an ingest token send (docs/privacy.md) ---------------------

# An own ping counts in a person's question about encounters only if the person can have come there from the
# one before at this speed, in metres per second.
MAX_SPEED_M_S = env.float("MAX_SPEED_M_S", default=10.0)
if not 0.1 <= MAX_SPEED_M_S <= 1000:
    raise ImproperlyConfigured("MAX_SPEED_M_S must be from 0.1 to 1000.")
# A ping that is sent with an ingest token is at most so many hours old.
INGEST_MAX_AGE_H = env.float("INGEST_MAX_AGE_H", default=72.0)
if not 0 < INGEST_MAX_AGE_H <= 876_000:
    raise ImproperlyConfigured("INGEST_MAX_AGE_H must be more than 0, and at most 876000.")
# Whether others may find a new person before anybody says so.
FINDABLE_BY_DEFAULT = env.bool("FINDABLE_BY_DEFAULT", default=ACCESS == "open")

# --- the web server (connect/gunicorn.py) --------------------------------------------------------

WEB_WORKERS = env.int("WEB_WORKERS", default=2)
WEB_THREADS = env.int("WEB_THREADS", default=8)
if min(WEB_WORKERS, WEB_THREADS) < 1:
    raise ImproperlyConfigured("WEB_WORKERS and WEB_THREADS must be 1 or more.")
# Two threads stay for short calls: the others may wait for answers that take long (connect.bulkhead), and two
# in three of these may stream, which lasts as long as the reader reads.
WEB_PLACES = max(1, WEB_THREADS - 2)
WEB_STREAMS = max(1, WEB_PLACES * 2 // 3)
# Seconds until an answer must have begun; less than the proxy waits for one. A person's own token has less.
REQUEST_TIMEOUT_S = env.float("REQUEST_TIMEOUT_S", default=60.0)
PERSON_TIMEOUT_S = env.float("PERSON_TIMEOUT_S", default=20.0)

# --- the gRPC server of locations, and those who ask it (grpc_server/) ---------------------------

GRPC_ADDRESS = env.str("GRPC_ADDRESS", default="127.0.0.1:50051" if ACCESS == "open" else "0.0.0.0:50051")
GRPC_THREADS = env.int("GRPC_THREADS", default=24)
# A stream holds a thread for as long as it is open: those who read may have so many, those who send pings as
# many, and the rest stays for short calls.
GRPC_STREAMS = max(1, (GRPC_THREADS - 4) // 2)
GRPC_TIMEOUT_S = env.float("GRPC_TIMEOUT_S", default=20.0)
GRPC_STREAM_TIMEOUT_S = env.float("GRPC_STREAM_TIMEOUT_S", default=3600.0)

# --- the topic of pings, those who fill it and the writer that empties it (consumers/) -----------

KAFKA_TOPIC = env.str("KAFKA_TOPIC", default="locations")
KAFKA_GROUP = env.str("KAFKA_GROUP", default="location-writers")
# As many writers can share the work. A person's pings are all in one of them.
KAFKA_PARTITIONS = env.int("KAFKA_PARTITIONS", default=12)
if KAFKA_PARTITIONS < 1:
    raise ImproperlyConfigured("KAFKA_PARTITIONS must be 1 or more.")
# How this process authenticates to the brokers, with SCRAM-SHA-512; empty is not at all.
KAFKA_USER = env.str("KAFKA_USER", default="")
KAFKA_PASSWORD = env.str("KAFKA_PASSWORD", default="")
if bool(KAFKA_USER) != bool(KAFKA_PASSWORD):
    raise ImproperlyConfigured("KAFKA_USER and KAFKA_PASSWORD belong together: give both, or none.")
# A ping that the brokers have not acknowledged by then is not taken.
KAFKA_TIMEOUT_S = env.float("KAFKA_TIMEOUT_S", default=10.0)
if not 0.1 <= KAFKA_TIMEOUT_S <= 300:
    raise ImproperlyConfigured("KAFKA_TIMEOUT_S must be from 0.1 to 300.")
# The writer says here that it lives and how far it is; each writer of a machine needs a file of its own.
WRITER_STATE_FILE = Path(env.str("WRITER_STATE_FILE", default=f"{gettempdir()}/connect-location-writer"))

# --- how long where people were is kept (privacy/retention.py) -----------------------------------

# 0 keeps everything.
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
    "privacy",
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
# Empty is for a process that owns no data; anything else must be a PostGIS.
if DATABASES["default"].get("ENGINE", "").rpartition(".")[2] not in ("", "postgis", "postgresql") or (
    env.str("DATABASE_URL", default="") and not DATABASES["default"].get("NAME")
):
    raise ImproperlyConfigured("DATABASE_URL must be like postgis://user:password@host:5432/name.")
DATABASES["default"] |= {
    "CONN_MAX_AGE": env.int("CONN_MAX_AGE", default=600),
    "CONN_HEALTH_CHECKS": True,
}
# The statements are written so that their plans do not hang on estimates, which are far too high:
# compiling them would take longer than running them. And every answer is read to its end.
DATABASES["default"]["OPTIONS"] = {
    "connect_timeout": 5,
    "options": "-c jit=off -c work_mem=32MB -c cursor_tuple_fraction=1",
} | DATABASES["default"].get("OPTIONS", {})

SILENCED_SYSTEM_CHECKS = [
    "gis.W001",  # about spatial references from outside; Connect reads none, WGS84 is all it knows
    "security.W005",  # HSTS for subdomains, too: they may be somebody else's, and without TLS
    "security.W008",  # a redirect to https: clients' doors have TLS or nothing, and neighbours have none
    "security.W021",  # to have the host built into browsers is for its owner to ask, and hard to take back
]

# --- what a browser is told ----------------------------------------------------------------------

# Where clients have TLS, whoever ended it says so in a header (k8s/proxy/defaults.cfg), cookies never travel
# without, and browsers remember it for a year: of this host alone, for others are not Connect's to speak for.
ENCRYPTED = API_URL.startswith("https://")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ENCRYPTED else None
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if ENCRYPTED else 0
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = ENCRYPTED
# With this prefix a browser takes the cookies from this host alone, over TLS, and sends them to no other.
_COOKIE_PREFIX = "__Host-" if ENCRYPTED else ""
SESSION_COOKIE_NAME = f"{_COOKIE_PREFIX}sessionid"
CSRF_COOKIE_NAME = f"{_COOKIE_PREFIX}csrftoken"
# Seconds after which a session of staff ends: since its login, and since its last use (access/sessions.py).
SESSION_MAX_S = env.int("SESSION_MAX_S", default=12 * 3600)
SESSION_IDLE_S = env.int("SESSION_IDLE_S", default=3600)
if min(SESSION_MAX_S, SESSION_IDLE_S) < 1:
    raise ImproperlyConfigured("SESSION_MAX_S and SESSION_IDLE_S must be 1 or more.")
SESSION_ENGINE = "access.sessions"
# Staff give a code of an authenticator app, too, before the admin site opens (access/second_factor.py).
STAFF_SECOND_FACTOR = env.bool("STAFF_SECOND_FACTOR", default=False)
OTP_TOTP_ISSUER = "Connect"
SESSION_COOKIE_AGE = SESSION_IDLE_S  # of the row in the database; the cookie lasts as long as the browser
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
# The web app acts for staff who signed in at the admin site, from an origin of its own.
CSRF_TRUSTED_ORIGINS = [*APP_ORIGINS, *([API_ORIGIN] if ENCRYPTED else [])]

# Nothing from elsewhere and no script within a page. DRF's and Django's own pages have style attributes.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "style-src-attr": [UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF, *APP_ORIGINS],  # who logs in to the admin site may have come from there
        "frame-ancestors": [NONE],
    }
}

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

# After ten wrong passwords a name waits at that address, longer each time (access/lockout.py); also with the
# right password, and no longer for trying on meanwhile. (manage.py axes_reset lets everybody in again.)
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_FAILURE_LIMIT = "access.lockout.failure_limit"
AXES_COOLOFF_TIME = timedelta(days=1)  # failures count for so long
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "access.lockout.client_address"
AXES_LOCKOUT_CALLABLE = "access.lockout.locked_out"
AXES_DISABLE_ACCESS_LOG = False  # it says which addresses a name is known at
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

BODY_LIMIT = 5 * 1024 * 1024  # bytes of one request on /api; the admin's uploads are not bound by it
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_LIMIT
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5000  # more parameters than the longest request line holds
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

CORS_ALLOWED_ORIGINS = [*APP_ORIGINS, *env.list("CORS_ALLOWED_ORIGINS", default=[])]
CORS_ALLOW_CREDENTIALS = True  # the session of staff who signed in
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
    "VERSION": "1",
    "DESCRIPTION": (
        "People at an event, where they were, and who was near whom, when and for how long.\n\n"
        "Times are UTC. Positions are WGS84 degrees. Arrays are never silently cut: without `limit` "
        "everything comes, streamed; with it the next page is in the `Link` header.\n\n"
        "The examples are of the event that `make up` simulates, on 2026-05-11: try them as they are."
    ),
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},  # no validator on the internet
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],  # the schema and its pages are for everybody, credentials or not
    "SERVE_URLCONF": "connect.api_urls",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "connect.web.openapi.strict_bodies",
        "connect.web.openapi.retry_after",
    ],
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api",
}
