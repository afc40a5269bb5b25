"""People in the admin site: search, changes, deletion, and permissions."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from persons.models import Person

pytestmark = pytest.mark.django_db

LIST = "/admin/persons/person/"
PAGES = [LIST, f"{LIST}add/", f"{LIST}import/", f"{LIST}export/", f"{LIST}imported/", f"{LIST}companies/"]


@pytest.fixture(autouse=True)
def _plain_static_files(settings: Any) -> None:
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }


@pytest.fixture
def ada() -> Person:
    return Person.objects.create(first_name="Ada", last_name="Lovelace", company_name="Engines Ltd")


@pytest.fixture
def staff(django_user_model: type[User]) -> Callable[..., Client]:
    """Makes a client of a staff user with these permissions."""

    def log_in(*permissions: str) -> Client:
        user = django_user_model.objects.create_user("someone", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        return client

    return log_in


def create_people(count: int) -> None:
    Person.objects.bulk_create(
        Person(first_name=f"First{n}", last_name=f"Last{n}", company_name=f"Company {n % 1000}")
        for n in range(count)
    )


def found(client: Client, **query: str) -> list[str]:
    return [person.last_name for person in client.get(LIST, query).context["cl"].result_list]


# --- search --------------------------------------------------------------------------------------


def test_people_are_listed_by_id_in_few_queries(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    create_people(250)
    with django_assert_max_num_queries(6):
        page = admin_client.get(LIST)
    ids = [person.pk for person in page.context["cl"].result_list]
    assert len(ids) == 100
    assert ids == sorted(ids)


@pytest.mark.parametrize("words", ["lovelace", "ADA", "love eng", "engines ada"])
def test_every_word_must_be_in_a_name_or_the_company(admin_client: Client, ada: Person, words: str) -> None:
    create_people(3)
    assert found(admin_client, q=words) == ["Lovelace"]


def test_a_person_is_found_by_id(admin_client: Client, ada: Person) -> None:
    assert found(admin_client, q=str(ada.pk)) == ["Lovelace"]


@pytest.mark.parametrize("words", ["²", "9" * 19, "9" * 40, "%", "'", '"', "\\", "\0"])
def test_a_search_with_odd_characters_does_not_fail(admin_client: Client, ada: Person, words: str) -> None:
    assert admin_client.get(LIST, {"q": words}).status_code == 200


def test_the_search_uses_the_trigram_index(admin_client: Client) -> None:
    create_people(20_000)
    with connection.cursor() as cursor:
        # Autovacuum does this later; with pending entries the planner avoids the index.
        cursor.execute("SELECT gin_clean_pending_list('person_names_trgm')")
        cursor.execute("ANALYZE persons_person")
    with CaptureQueriesContext(connection) as queries:
        assert found(admin_client, q="last1234")
    searches = [query["sql"] for query in queries if "LIKE" in query["sql"]]
    assert searches
    for sql in searches:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {sql}")
            assert "person_names_trgm" in "".join(line for (line,) in cursor.fetchall())


def test_the_company_filter_takes_a_whole_name_or_a_part(admin_client: Client, ada: Person) -> None:
    Person.objects.create(first_name="Bo", last_name="Ek", company_name="Engines Ltd & Sons")
    assert found(admin_client, company="Engines Ltd") == ["Lovelace"]
    assert found(admin_client, company="engines l") == ["Lovelace", "Ek"]
    assert found(admin_client, company="engines", q="bo") == ["Ek"]
    assert found(admin_client, company="\0") == []
    assert found(admin_client, company="  ") == ["Lovelace", "Ek"]


def test_companies_are_suggested_and_not_listed_as_links(admin_client: Client) -> None:
    create_people(3000)
    page = admin_client.get(LIST, {"q": "First7"}).content.decode()
    assert page.count("?company=") == 0
    answer = admin_client.get(f"{LIST}companies/", {"q": "COMPANY 7"}).json()
    assert len(answer["companies"]) == 20
    assert answer["companies"][:2] == ["Company 7", "Company 70"]


def test_an_empty_list_says_what_to_do(admin_client: Client) -> None:
    assert "There are no people yet" in admin_client.get(LIST).content.decode()
    assert "No person matches" in admin_client.get(LIST, {"q": "nobody"}).content.decode()


# --- links to pings ------------------------------------------------------------------------------


def test_a_person_has_links_to_pings_connections_and_encounters(admin_client: Client, ada: Person) -> None:
    for page in (LIST, f"{LIST}{ada.pk}/change/"):
        text = admin_client.get(page).content.decode()
        assert f'href="/admin/locations/location/?person_id={ada.pk}"' in text
        assert f'href="/admin/locations/location/newest/{ada.pk}/connection/"' in text
        assert f'href="/admin/locations/location/newest/{ada.pk}/encounters/"' in text


def test_links_need_the_permission_of_their_target(staff: Callable[..., Client], ada: Person) -> None:
    client = staff("view_person")
    for page in (LIST, f"{LIST}{ada.pk}/change/"):
        text = client.get(page).content.decode()
        assert "Lovelace" in text
        assert "/admin/locations/" not in text
    assert "Import CSV" not in client.get(LIST).content.decode()


# --- changing ------------------------------------------------------------------------------------


def test_names_are_trimmed(admin_client: Client) -> None:
    names = {"first_name": "  Ann ", "last_name": "\tLee", "company_name": "Acme\n"}
    assert admin_client.post(f"{LIST}add/", names).status_code == 302
    assert Person.objects.values_list("first_name", "last_name", "company_name").get() == (
        "Ann",
        "Lee",
        "Acme",
    )


@pytest.mark.parametrize("name", ["", "   ", "x" * 256, "a\0b"])
def test_an_invalid_name_is_refused_with_a_reason(admin_client: Client, name: str) -> None:
    names = {"first_name": name, "last_name": "Lee", "company_name": "Acme"}
    page = admin_client.post(f"{LIST}add/", names)
    assert page.status_code == 200
    assert page.context["adminform"].form.errors["first_name"]
    assert not Person.objects.exists()


def test_staff_can_hide_a_person_and_filter_hidden_people(admin_client: Client, ada: Person) -> None:
    create_people(3)
    names = {"first_name": "Ada", "last_name": "Lovelace", "company_name": "Engines Ltd"}
    page = f"{LIST}{ada.pk}/change/"
    assert admin_client.post(page, names).status_code == 302  # an unchecked box is not sent
    assert found(admin_client, findable__exact="0") == ["Lovelace"]
    assert admin_client.post(page, names | {"findable": "on"}).status_code == 302
    assert found(admin_client, findable__exact="0") == []


def test_the_change_log_ignores_a_forged_initial_value(admin_client: Client, ada: Person) -> None:
    Person.objects.filter(pk=ada.pk).update(findable=False)
    names = {"first_name": "Ada", "last_name": "Lovelace", "company_name": "Engines Ltd"}
    forged = names | {"findable": "on", "initial-findable": "True"}
    assert admin_client.post(f"{LIST}{ada.pk}/change/", forged).status_code == 302
    assert LogEntry.objects.get().get_change_message() == "Changed May be found."
    assert admin_client.post(f"{LIST}{ada.pk}/change/", names | {"findable": "on"}).status_code == 302
    assert LogEntry.objects.latest("id").get_change_message() == "No fields changed."


# --- deleting ------------------------------------------------------------------------------------


def create_pings(person_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO locations_location (person_id, creation_time, latitude, longitude) "
            "SELECT %s, '2019-01-01Z'::timestamptz + n * interval '1 s', 1, 2 FROM generate_series(1, 10) n",
            [person_id],
        )


def count_pings() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM locations_location")
        return cursor.fetchone()[0]


def test_deleting_a_person_warns_about_the_pings_and_deletes_them(admin_client: Client, ada: Person) -> None:
    create_pings(ada.pk)
    page = f"{LIST}{ada.pk}/delete/"
    with CaptureQueriesContext(connection) as queries:
        assert "All pings of this person are deleted too" in admin_client.get(page).content.decode()
    assert not [query for query in queries if "locations_location" in query["sql"]]
    assert admin_client.post(page, {"post": "yes"}).status_code == 302
    assert (Person.objects.count(), count_pings()) == (0, 0)


def test_more_people_than_the_limit_of_form_fields_can_be_deleted(admin_client: Client, ada: Person) -> None:
    create_people(1500)
    create_pings(ada.pk)
    create_pings(Person.objects.latest("id").pk)
    everybody = {"action": "delete_selected", "select_across": "1", "index": "0", "_selected_action": "1"}
    address = f"{LIST}?q=company"
    page = admin_client.post(address, everybody).content.decode()
    assert "Delete 1500 people?" in page
    assert "and 1,480 more" in page
    assert "All pings of these people are deleted too" in page
    assert page.count("<input") < 10
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="(\w+)">', page))
    answer = admin_client.post(address, hidden)
    assert answer.status_code == 302
    assert list(Person.objects.all()) == [ada]
    assert count_pings() == 10


def test_only_the_selected_people_are_deleted(admin_client: Client, ada: Person) -> None:
    create_people(3)
    selected = {"action": "delete_selected", "_selected_action": [str(ada.pk)]}
    page = admin_client.post(LIST, selected).content.decode()
    assert "Delete 1 person?" in page
    assert f'name="_selected_action" value="{ada.pk}"' in page
    admin_client.post(LIST, selected | {"post": "yes"})
    assert Person.objects.count() == 3
    assert not Person.objects.filter(pk=ada.pk).exists()


# --- permissions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_an_anonymous_user_is_redirected_to_the_login(client: Client, page: str) -> None:
    answer = client.get(page)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("page", PAGES)
def test_staff_without_the_permission_is_refused(staff: Callable[..., Client], page: str) -> None:
    assert staff().get(page).status_code == 403


def test_the_view_permission_allows_export_but_not_import_or_delete(
    staff: Callable[..., Client], ada: Person
) -> None:
    client = staff("view_person")
    assert client.get(f"{LIST}export/").status_code == 200
    assert client.get(f"{LIST}import/").status_code == 403
    assert client.get(f"{LIST}{ada.pk}/delete/").status_code == 403
    client.post(LIST, {"action": "delete_selected", "_selected_action": [str(ada.pk)], "post": "yes"})
    assert Person.objects.filter(pk=ada.pk).exists()
