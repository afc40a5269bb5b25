"""People in the admin site: found by name or company, imported, exported, deleted with their pings."""

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Count, Max, Min, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from access import audit
from access.audit import MAX_IDS, People
from connect import dashboard
from connect.dashboard import Figure
from persons.csv_import import FINDABLE, Summary, WrongColumns, import_rows
from persons.models import Person
from persons.services import FIELDS, MAX_ID

BLOCK = 2000  # rows that an export holds in memory
SUGGESTIONS = 20
NAMED = 20  # people whom a confirmation of deletion names one by one
LINE_LIMIT = 64 * 1024  # characters; no honest row is longer

SEE_LOCATIONS = "locations.view_location"
MAKE_TOKENS = "access.add_token"
SEE_EVERYTHING = ("consumers.view_rejectedping", "access.view_question", "access.view_token")


# --- finding -------------------------------------------------------------------------------------


class CompanyFilter(admin.ListFilter):
    """One company by its whole name, else all whose names hold what was typed. It may be one of thousands,
    so it is typed, with suggestions, and not picked from a list of links."""

    title = "company"
    template = "admin/persons/person/company_filter.html"

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any):
        super().__init__(request, params, model, model_admin)
        self.name = (params.pop("company", None) or [""])[-1].strip()
        if self.name:
            self.used_parameters["company"] = self.name

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return ["company"]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        others = {key: value for key, value in changelist.params.items() if key != "company"}
        yield {
            "name": self.name,
            "others": others,
            "all": changelist.get_query_string(remove=["company"]),
            "url": reverse("admin:persons_person_companies"),
        }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Person]) -> QuerySet[Person] | None:
        if not self.name:
            return None
        if "\0" in self.name:
            return queryset.none()
        if Person.objects.filter(company_name=self.name).exists():
            return queryset.filter(company_name=self.name)
        return queryset.filter(company_name__icontains=self.name)


# --- CSV -----------------------------------------------------------------------------------------


class _Said(io.StringIO):
    """A buffer that is emptied by reading it."""

    def take(self) -> str:
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


def csv_blocks(people: QuerySet[Person]) -> Iterator[str]:
    """The table that import_rows reads, block by block from one snapshot.

    Names go out exactly as they are, also those that a spreadsheet would take for a formula: a guard such
    as a leading apostrophe would come back as part of the name. The import page says how to open the file.
    """
    said = _Said()
    writer = csv.writer(said)
    writer.writerow((*FIELDS, FINDABLE))
    rows = people.order_by("id").values_list(*FIELDS, FINDABLE).iterator(chunk_size=BLOCK)
    while block := list(islice(rows, BLOCK)):
        writer.writerows([*names, "true" if findable else "false"] for *names, findable in block)
        yield said.take()
    if rest := said.take():
        yield rest


def download(people: QuerySet[Person]) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        csv_blocks(people),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="people.csv"'},
    )


def all_of(people: QuerySet[Person]) -> People:
    """Whom the audit log names for a query set."""
    ids = list(people.order_by("id").values_list("id", flat=True)[: MAX_IDS + 1])
    if len(ids) <= MAX_IDS:
        return People.of(ids)
    span = people.order_by().aggregate(count=Count("id"), first=Min("id"), last=Max("id"))
    return People(**span)


def lines_of(file: Any) -> Iterator[str]:
    """The lines of an upload, with their ends; bytes that are not UTF-8 come as lone surrogates."""
    text = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
    try:
        while line := text.readline(LINE_LIMIT):
            yield line
    finally:
        text.detach()  # the upload closes its file itself


class ImportForm(forms.Form):
    file = forms.FileField(
        label="CSV file",
        error_messages={
            "required": "Choose a file first.",
            "empty": "The file is empty: it has no bytes.",
        },
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv"}),
    )
    update = forms.BooleanField(
        required=False,
        label="Update people who exist",
        help_text="Without this, a row whose id exists under other names is refused and changes nothing.",
    )


# --- the pages -----------------------------------------------------------------------------------


@admin.register(Person)
class PersonAdmin(admin.ModelAdmin):
    list_display = ("id", "first_name", "last_name", "company_name", "findable", "look_at")
    list_display_links = ("id", "first_name", "last_name")
    list_filter = (CompanyFilter, "findable")
    list_per_page = 100
    list_max_show_all = 1000
    ordering = ("id",)
    search_fields = ("first_name", "last_name", "company_name")
    search_help_text = "Parts of the first name, last name and company, in any order; or a person's id."
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = ("export_selected",)
    # With a callable default Django compares with a hidden field of the form, which a client can fill at
    # will: the log of changes would leave out that somebody was made findable.
    formfield_overrides = {models.BooleanField: {"show_hidden_initial": False}}

    class Media:
        css = {"all": ["persons/admin.css"]}
        js = [forms.Script("persons/admin.js", defer=True)]

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        return self.list_display if request.user.has_perm(SEE_LOCATIONS) else self.list_display[:-1]

    @admin.display(description="See")
    def look_at(self, person: Person) -> SafeString:
        # By address and not by import: people know nothing of locations.
        links = [
            ("pings", f"{reverse('admin:locations_location_changelist')}?person_id={person.id}"),
            *(
                (text, reverse("admin:locations_newest", args=[person.id, question]))
                for text, question in (("connections", "connection"), ("encounters", "encounters"))
            ),
        ]
        return format_html_join(
            " · ",
            '<a href="{}" aria-label="{} of {}">{}</a>',
            ((url, text, person, text) for text, url in links),
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Person], search_term: str
    ) -> tuple[QuerySet[Person], bool]:
        found, duplicates = super().get_search_results(request, queryset, search_term)
        term = search_term.strip()
        if term.isascii() and term.isdigit() and len(term) < 20 and int(term) <= MAX_ID:
            found |= queryset.filter(id=int(term))
        return found, duplicates

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("import/", wrap(self.import_view), name="persons_person_import"),
            path("export/", wrap(self.export_view), name="persons_person_export"),
            path("companies/", wrap(self.companies_view), name="persons_person_companies"),
            *super().get_urls(),
        ]

    # Both rights, since rows with ids make people and, when asked to, change them.
    def has_import_permission(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request) and self.has_change_permission(request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        more = {
            "title": "People",
            "has_import_permission": self.has_import_permission(request),
            **(extra_context or {}),
        }
        response = super().changelist_view(request, more)
        changelist = getattr(response, "context_data", {}).get("cl")
        if changelist is not None and (changelist.query or changelist.has_active_filters):
            audit.set_people(request, (person.id for person in changelist.result_list))
        return response

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        context["sees_locations"] = request.user.has_perm(SEE_LOCATIONS)
        context["makes_tokens"] = request.user.has_perm(MAKE_TOKENS)
        context["may_export"] = request.user.has_perms([SEE_LOCATIONS, *SEE_EVERYTHING])
        return super().render_change_form(request, context, *args, **kwargs)

    def companies_view(self, request: HttpRequest) -> JsonResponse:
        """Names of companies that hold what was typed."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        text = request.GET.get("q", "").strip().replace("\0", "")
        people = Person.objects.filter(company_name__icontains=text) if text else Person.objects.all()
        names = people.order_by("company_name").values_list("company_name", flat=True).distinct()
        return JsonResponse({"companies": list(names[:SUGGESTIONS])})

    def figures(self) -> Iterator[Figure]:
        with dashboard.in_time() as cursor:
            people = dashboard.size(cursor, self.opts.db_table)
        yield Figure("people", "People", str(people), people.note, reverse("admin:persons_person_changelist"))

    # --- import and export

    def import_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_import_permission(request):
            raise PermissionDenied
        form = ImportForm(request.POST, request.FILES) if request.method == "POST" else ImportForm()
        summary: Summary | None = None
        if form.is_valid():
            lines = lines_of(form.cleaned_data["file"].file)
            try:
                summary = import_rows(lines, update=form.cleaned_data["update"])
            except WrongColumns as fault:
                form.add_error("file", f"{fault} Nothing was stored.")
        context = {
            **self.admin_site.each_context(request),
            "title": "Import people",
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "summary": summary,
            "more_refused": summary.refused_count - len(summary.refused) if summary else 0,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/persons/person/import.html", context)

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """What the list shows under the same query, all pages of it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            people = self.get_changelist_instance(request).queryset
            audit.set_people(request, all_of(people))
            return download(people)
        except IncorrectLookupParameters:
            return redirect("admin:persons_person_changelist")

    @admin.action(description="Export the selected people as CSV", permissions=["view"])
    def export_selected(self, request: HttpRequest, queryset: QuerySet[Person]) -> HttpResponseBase:
        audit.set_people(request, all_of(queryset))
        return download(queryset)

    # --- deleting

    def get_deleted_objects(self, objs: Iterable[Person], request: HttpRequest) -> tuple[Any, ...]:
        """What is to go, in numbers and some names: Django's own way would load and list every row.

        Nothing refers to people by a foreign key; their pings go by a trigger, in the same transaction.
        """
        people = objs.order_by("id") if isinstance(objs, QuerySet) else list(objs)
        # Those who are deleted leave no id in the log, but their number.
        audit.set_people(
            request, all_of(objs) if isinstance(objs, QuerySet) else [each.id for each in people]
        )
        count = people.count() if isinstance(people, QuerySet) else len(people)
        named: list[Any] = [self._link(person) for person in people[:NAMED]]
        if count > NAMED:
            named.append(f"and {count - NAMED:,} more")
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        return named, {self.opts.verbose_name_plural: count}, lacking, []

    def log_deletions(self, request: HttpRequest, queryset: Any) -> list[LogEntry]:
        """None: the log would keep their names. A receipt is kept, which has none."""
        return []

    def _link(self, person: Person) -> SafeString:
        return format_html(
            '<a href="{}">{}</a>, {}, person {}',
            reverse("admin:persons_person_change", args=[person.id]),
            person,
            person.company_name,
            person.id,
        )
