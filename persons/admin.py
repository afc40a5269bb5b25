"""People in the admin site: search, import, export, and deletion with their pings."""

import io
from collections.abc import Iterable, Iterator
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

from access import audit, badges
from access.audit import MAX_IDS, People
from access.services import may_make_tokens
from connect import dashboard
from connect.dashboard import Figure
from persons import person_ranges
from persons.csv_export import csv_blocks
from persons.csv_import import Summary, WrongColumns, import_rows
from persons.models import Person
from persons.services import MAX_ID

SUGGESTIONS = 20
MAX_NAMED = 20  # people listed by name in a deletion's confirmation
MAX_RANGES = 5000  # in the form for the people of an import; bounds the page
LINE_LIMIT = 64 * 1024  # characters; no valid row is longer

VIEW_LOCATIONS = "locations.view_location"
ADD_TOKENS = "access.add_token"
EXPORT_PERMISSIONS = ("consumers.view_rejectedping", "access.view_question", "access.view_token")


# --- finding -------------------------------------------------------------------------------------


class CompanyFilter(admin.ListFilter):
    """Filters by the whole name of a company; if there is no such company, by a part of its name.

    The user types the name and gets suggestions, because a list of thousands of links would be too long.
    """

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


def download(people: QuerySet[Person]) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        csv_blocks(people),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="people.csv"'},
    )


def audited_people(people: QuerySet[Person]) -> People:
    """The people of a query set, as the audit log lists them."""
    ids = list(people.order_by("id").values_list("id", flat=True)[: MAX_IDS + 1])
    if len(ids) <= MAX_IDS:
        return People.of(ids)
    summary = people.order_by().aggregate(count=Count("id"), first=Min("id"), last=Max("id"))
    return People(**summary)


def lines_of(file: Any) -> Iterator[str]:
    """The lines of an upload, with line ends. Bytes that are not UTF-8 become lone surrogates."""
    text = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
    try:
        while line := text.readline(LINE_LIMIT):
            yield line
    finally:
        text.detach()  # the upload closes its own file


class ImportForm(forms.Form):
    file = forms.FileField(
        label="CSV file",
        error_messages={
            "required": "Choose a file.",
            "empty": "The file is empty.",
        },
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv"}),
    )
    update = forms.BooleanField(
        required=False,
        label="Update existing people",
        help_text="If not checked, a row with an existing id and other names is refused.",
    )


# --- the pages -----------------------------------------------------------------------------------


@admin.register(Person)
class PersonAdmin(admin.ModelAdmin):
    list_display = ("id", "first_name", "last_name", "company_name", "findable", "links")
    list_display_links = ("id", "first_name", "last_name")
    list_filter = (CompanyFilter, "findable")
    list_per_page = 100
    list_max_show_all = 1000
    ordering = ("id",)
    search_fields = ("first_name", "last_name", "company_name")
    search_help_text = "Parts of the first name, last name and company, in any order; or a person's id."
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = ("export_selected", "make_badges")
    # With a callable default, Django detects changes by a hidden form field. A client can forge that field to
    # hide a change of `findable` from the change log.
    formfield_overrides = {models.BooleanField: {"show_hidden_initial": False}}

    class Media:
        css = {"all": ["persons/admin.css"]}
        js = [forms.Script("persons/admin.js", defer=True)]

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        return self.list_display if request.user.has_perm(VIEW_LOCATIONS) else self.list_display[:-1]

    @admin.display(description="See")
    def links(self, person: Person) -> SafeString:
        # By URL name, because persons does not import locations.
        targets = [
            ("pings", f"{reverse('admin:locations_location_changelist')}?person_id={person.id}"),
            *(
                (text, reverse("admin:locations_newest", args=[person.id, question]))
                for text, question in (("connections", "connection"), ("encounters", "encounters"))
            ),
        ]
        return format_html_join(
            " · ",
            '<a href="{}" aria-label="{} of {}">{}</a>',
            ((url, text, person, text) for text, url in targets),
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
            path("imported/", wrap(self.imported_view), name="persons_person_imported"),
            path("export/", wrap(self.export_view), name="persons_person_export"),
            path("companies/", wrap(self.companies_view), name="persons_person_companies"),
            *super().get_urls(),
        ]

    def has_import_permission(self, request: HttpRequest) -> bool:
        """An import creates people and may update them."""
        return self.has_add_permission(request) and self.has_change_permission(request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        more = {
            "title": "People",
            "has_import_permission": self.has_import_permission(request),
            **(extra_context or {}),
        }
        return super().changelist_view(request, more)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        context["may_view_locations"] = request.user.has_perm(VIEW_LOCATIONS)
        context["may_add_tokens"] = request.user.has_perm(ADD_TOKENS)
        context["may_export"] = request.user.has_perms([VIEW_LOCATIONS, *EXPORT_PERMISSIONS])
        return super().render_change_form(request, context, *args, **kwargs)

    def companies_view(self, request: HttpRequest) -> JsonResponse:
        """Suggests names of companies that contain the typed text."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        text = request.GET.get("q", "").strip().replace("\0", "")
        people = Person.objects.filter(company_name__icontains=text) if text else Person.objects.all()
        names = people.order_by("company_name").values_list("company_name", flat=True).distinct()
        return JsonResponse({"companies": list(names[:SUGGESTIONS])})

    def figures(self) -> Iterator[Figure]:
        with dashboard.bounded_cursor() as cursor:
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
            **(self._ids(request, summary) if summary else {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/persons/person/import.html", context)

    def _ids(self, request: HttpRequest, summary: Summary) -> dict[str, Any]:
        """The ids of an import: texts to show, and if the user may download the people, a text to post."""
        ranges = person_ranges.of(summary.ids)
        may_download = self.has_view_permission(request) and 0 < len(ranges) <= MAX_RANGES
        return {
            "people": person_ranges.summary(summary.ids),
            "assigned": person_ranges.summary(summary.assigned),
            "posted_ids": person_ranges.text(ranges) if may_download else "",
        }

    def imported_view(self, request: HttpRequest) -> HttpResponseBase:
        """Exports the people of one import, whose ids the page of its result posts."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            people = person_ranges.people(person_ranges.parse(request.POST.get("ids", "")))
        except ValueError:
            return redirect("admin:persons_person_changelist")
        audit.set_people(request, audited_people(people))
        return download(people)

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Exports all people that the list with the same query shows, from all its pages."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            people = self.get_changelist_instance(request).queryset
            audit.set_people(request, audited_people(people))
            return download(people)
        except IncorrectLookupParameters:
            return redirect("admin:persons_person_changelist")

    @admin.action(description="Export the selected people as CSV", permissions=["view"])
    def export_selected(self, request: HttpRequest, queryset: QuerySet[Person]) -> HttpResponseBase:
        audit.set_people(request, audited_people(queryset))
        return download(queryset)

    # --- badges

    def has_badges_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) and may_make_tokens(request.user)

    @admin.action(description="Make badges with sign-in codes", permissions=["badges"])
    def make_badges(self, request: HttpRequest, queryset: QuerySet[Person]) -> HttpResponse:
        audit.set_people(request, audited_people(queryset))
        ids = queryset.order_by("id").values_list("id", flat=True)[: badges.MAX_BADGES + 1]
        return badges.respond(self, request, list(ids))

    # --- deleting

    def get_deleted_objects(self, objs: Iterable[Person], request: HttpRequest) -> tuple[Any, ...]:
        """The number of people to delete and some of their names.

        Django's own method would load and list every row. No foreign key refers to people; a trigger deletes
        their pings in the same transaction.
        """
        people = objs.order_by("id") if isinstance(objs, QuerySet) else list(objs)
        # The audit log keeps the number of deleted people, not their ids.
        audit.set_people(
            request, audited_people(objs) if isinstance(objs, QuerySet) else [each.id for each in people]
        )
        count = people.count() if isinstance(people, QuerySet) else len(people)
        named: list[Any] = [self._link(person) for person in people[:MAX_NAMED]]
        if count > MAX_NAMED:
            named.append(f"and {count - MAX_NAMED:,} more")
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        return named, {self.opts.verbose_name_plural: count}, lacking, []

    def log_deletions(self, request: HttpRequest, queryset: Any) -> list[LogEntry]:
        """Logs nothing, because the entries would keep the names. The erasure receipt has no name."""
        return []

    def _link(self, person: Person) -> SafeString:
        return format_html(
            '<a href="{}">{}</a>, {}, person {}',
            reverse("admin:persons_person_change", args=[person.id]),
            person,
            person.company_name,
            person.id,
        )
