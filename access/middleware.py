"""Writes each REST call and each admin page about people to the audit log, and renews sessions in use."""

import re
from collections.abc import Callable, Iterator

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase

from access import audit, callers
from access.audit import People, Question
from access.callers import staff_caller
from access.sessions import SessionStore
from connect.errors import NeighbourUnavailable
from connect.web.rest import RETRY_AFTER_S, Unavailable

_ABOUT_PEOPLE = ("persons_", "locations_", "consumers_", "phones_", "privacy_", "webhooks_")
# The id in the path is not a person's.
_NOT_BY_PERSON = ("consumers_", "phones_", "privacy_erasure", "webhooks_")
_PERSON_COLUMNS = ("person_id", "person_a_id", "person_b_id")
_PAGING = {"p", "o", "all", "e", "_popup", "_to_field", "_changelist_filters"}
_ID = re.compile(r"[1-9][0-9]{0,17}(?![0-9])", re.ASCII)


class SessionUse:
    """Each admin page renews the session; the automatic refresh of the front page does not."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        match = request.resolver_match
        if match is not None and match.app_name == "admin" and match.url_name != "figures":
            session = request.session
            if isinstance(session, SessionStore) and session.session_key:
                session.touch()
        return response


class AuditLog:
    """Writes to the audit log before the first byte of the answer. If that fails, the answer is a 503."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.status_code >= 500:
            return response
        try:
            if request.path.startswith("/admin/"):
                _note_admin(request, response)
            else:
                audit.note(request, response.status_code)
        except NeighbourUnavailable:
            response.close()
            return _unavailable(request)
        return response


def _note_admin(request: HttpRequest, response: HttpResponseBase) -> None:
    match = request.resolver_match
    user = getattr(request, "user", None)
    if match is None or match.app_name != "admin" or user is None or not user.is_staff:
        return
    name = match.url_name or ""
    if not name.startswith(_ABOUT_PEOPLE):
        return
    people = getattr(request, "audited_people", None)
    people = people or People.of([*_ids(request, name), *_shown(request, response)])
    question = Question(f"{request.method} admin {name}", people, outcome=str(response.status_code))
    callers.note(staff_caller(user), question)


def _shown(request: HttpRequest, response: HttpResponseBase) -> Iterator[int]:
    """The people of the object on a page, or of the rows of a list that is filtered in any way."""
    context = getattr(response, "context_data", None) or {}
    rows = [context.get("original")]
    if "cl" in context and request.GET.keys() - _PAGING:
        rows = [*context["cl"].result_list]
    for row in rows:
        names = [name for name in _PERSON_COLUMNS if hasattr(row, name)] or ["pk"]
        for person_id in (getattr(row, name, None) for name in names):
            if isinstance(person_id, int):
                yield person_id


def _ids(request: HttpRequest, name: str) -> list[int]:
    """The ids of people in the path, in the filter and in a bulk action."""
    if name.startswith(_NOT_BY_PERSON):
        texts = []
    else:
        path = request.resolver_match.kwargs if request.resolver_match else {}
        texts = [path.get("object_id"), path.get("person_id"), path.get("location_id")]
        texts.append(request.GET.get("person_id"))
        if name.startswith("persons_"):
            texts += request.POST.getlist("_selected_action")
    matches = [_ID.match(str(text or "").strip().lstrip("+0")) for text in texts]
    return [int(match[0]) for match in matches if match]


def _unavailable(request: HttpRequest) -> HttpResponse:
    detail = str(Unavailable.default_detail)
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    if request.path.startswith("/admin/"):
        return HttpResponse(detail, status=503, headers=headers, content_type="text/plain; charset=utf-8")
    return JsonResponse({"detail": detail}, status=503, headers=headers)
