"""Waiting times after wrong passwords. django-axes counts the failures in the database.

A name at one address must wait after LIMIT failures; each further failure doubles the wait, up to
LONGEST_WAIT. After NAME_LIMIT failures of one name at all addresses, the addresses from which the name has
not logged in within KNOWN_FOR share a second wait. Failures expire AXES_COOLOFF_TIME after the last one.
"""

import math
from datetime import timedelta
from typing import Any

from axes.helpers import get_client_username
from axes.models import AccessAttempt, AccessLog
from django.contrib import admin
from django.db.models import Max, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from connect import middleware

LIMIT = 10
FIRST_WAIT = timedelta(minutes=1)  # after LIMIT failures; each further failure doubles it
LONGEST_WAIT = timedelta(hours=1)
NAME_LIMIT = 50  # failures of one name from all addresses
NAME_WAIT = timedelta(seconds=5)  # each further LIMIT failures double it
LONGEST_NAME_WAIT = timedelta(minutes=1)
KNOWN_FOR = timedelta(days=30)  # since the last login from an address


def failure_limit(request: HttpRequest, credentials: Any = None) -> int:
    """AXES_FAILURE_LIMIT: during a wait the number of failures so far, which locks out; else one more."""
    failures, _ = _count(_attempts(request, credentials))
    return failures if wait(request, credentials) else failures + 1


def wait(request: HttpRequest, credentials: Any = None) -> timedelta:
    """The time until the next attempt is allowed; zero or less means now."""
    failures, last = _count(_attempts(request, credentials))
    waits = []
    if failures >= LIMIT:
        waits.append(_remaining(last, FIRST_WAIT * 2 ** min(failures - LIMIT, 16), LONGEST_WAIT))
    name = _name(request, credentials)
    failures, last = _count(AccessAttempt.objects.filter(username=name))
    if failures >= NAME_LIMIT and not _is_known(name, request):
        doublings = min((failures - NAME_LIMIT) // LIMIT, 16)
        waits.append(_remaining(last, NAME_WAIT * 2**doublings, LONGEST_NAME_WAIT))
    return max(waits, default=timedelta(0))


def locked_out(request: HttpRequest, _answer: HttpResponse, credentials: Any) -> HttpResponse:
    """AXES_LOCKOUT_CALLABLE: the page that replaces the login form."""
    seconds = max(1, math.ceil(wait(request, credentials).total_seconds()))
    minutes = math.ceil(seconds / 60)
    context = admin.site.each_context(request) | {"title": "Too many attempts", "minutes": minutes}
    answer = render(request, "admin/locked_out.html", context, status=429)
    answer["Retry-After"] = str(seconds)
    return answer


def client_address(request: HttpRequest) -> str:
    """AXES_CLIENT_IP_CALLABLE."""
    return middleware.client_address(request.META)


def forget_old_logins(**_: Any) -> None:
    """Receiver of `user_logged_in`: deletes logins that are older than KNOWN_FOR."""
    AccessLog.objects.filter(attempt_time__lt=timezone.now() - KNOWN_FOR).delete()


def _name(request: Any, credentials: Any) -> str:
    return str(get_client_username(request, credentials))


def _attempts(request: Any, credentials: Any) -> QuerySet[AccessAttempt]:
    return AccessAttempt.objects.filter(
        username=_name(request, credentials), ip_address=request.axes_ip_address
    )


def _count(attempts: QuerySet[AccessAttempt]) -> tuple[int, Any]:
    totals = attempts.aggregate(failures=Sum("failures_since_start"), last=Max("attempt_time"))
    return totals["failures"] or 0, totals["last"]


def _remaining(last: Any, delay: timedelta, longest: timedelta) -> timedelta:
    return max(timedelta(0), last + min(delay, longest) - timezone.now())


def _is_known(name: str, request: Any) -> bool:
    since = timezone.now() - KNOWN_FOR
    logins = AccessLog.objects.filter(username=name, ip_address=request.axes_ip_address)
    return logins.filter(attempt_time__gte=since).exists()
