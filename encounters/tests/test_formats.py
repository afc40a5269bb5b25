"""Everybody's encounters as GeoJSON, CSV, GraphML and GEXF, read by other parsers."""

import csv
import io
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

import orjson
import pytest
from defusedxml import ElementTree
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from encounters.renderers import Gexf, GraphJson, GraphMl
from encounters.tests.stored import Met, people, store
from persons.models import Person

pytestmark = pytest.mark.usefixtures("everything_served")

DAY = "start_date=2026-05-11&end_date=2026-05-11"
LIST, GRAPH = f"/api/encounters?{DAY}", f"/api/encounters/graph?{DAY}"
NAMES = ("first_name", "last_name", "company_name")
MARKUP = "<&>\"' \t\r\n]]> Zoë 𝄞"
GRAPHML, GEXF = "{http://graphml.graphdrawing.org/xmlns}", "{http://www.gexf.net/1.2draft}"


@pytest.fixture
def _two_meetings(db: None) -> None:
    people({1: MARKUP, 2: "=1+1", 3: "Acme"})
    store([Met(1, 2, 0, 60.25), Met(1, 3, 30, 0), Met(1, 2, 300, 40)])


@pytest.mark.usefixtures("_two_meetings")
def test_geojson(api: APIClient) -> None:
    plain = api.get(LIST).json()
    for answer in (
        api.get(LIST, headers={"accept": "application/geo+json"}),
        api.get(f"{LIST}&format=geojson"),
    ):
        assert answer["Content-Type"] == "application/geo+json"
        features = answer.json()["features"]
        for feature, row in zip(features, plain, strict=True):
            assert feature["geometry"] == {"type": "Point", "coordinates": [13.4, 52.5]}
            assert feature["properties"] | {"latitude": "52.5000000", "longitude": "13.4000000"} == row


@pytest.mark.usefixtures("_two_meetings")
def test_csv(api: APIClient) -> None:
    for answer in (api.get(LIST, headers={"accept": "text/csv"}), api.get(f"{LIST}&format=csv")):
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))
        assert [row["person_b_id"] for row in rows] == ["2", "3", "2"]
        assert rows[0] == {
            "person_a_id": "1",
            "person_a_first_name": "P1",
            "person_a_last_name": "Q",
            "person_a_company_name": MARKUP,
            "person_b_id": "2",
            "person_b_first_name": "P2",
            "person_b_last_name": "Q",
            "person_b_company_name": "'=1+1",  # no formula
            "start": "2026-05-11T09:00:00Z",
            "end": "2026-05-11T09:01:00.250000Z",
            "duration_s": "60.25",
            "pings": "3",
            "min_distance_m": "1.25",
            "latitude": "52.5000000",
            "longitude": "13.4000000",
            "state": "ended",
        }


@pytest.mark.usefixtures("_two_meetings")
def test_pages_of_csv_have_a_link(api: APIClient) -> None:
    answer = api.get(f"{LIST}&format=csv&limit=2")
    assert "format=csv" in answer["Link"]
    assert answer.content.count(b"2026-05-11T09:00:00Z") == 1


@pytest.mark.usefixtures("_two_meetings")
@pytest.mark.parametrize("form", ["graphml", "gexf"])
def test_an_xml_graph_has_the_elements_of_the_json_graph(api: APIClient, form: str) -> None:
    Person.objects.filter(id=2).update(last_name="a\x01\x1f\x7f\ufffe", first_name="&amp;")
    plain = api.get(GRAPH).json()
    assert plain["edges"] == [
        {"source": 1, "target": 2, "seconds": 100.25, "meetings": 2},
        {"source": 1, "target": 3, "seconds": 0.0, "meetings": 1},
    ]
    plain["nodes"][1]["last_name"] = "a\ufffd\ufffd\x7f\ufffd"
    for answer in (
        api.get(f"{GRAPH}&format={form}"),
        api.get(GRAPH, headers={"accept": f"application/{form}+xml"}),
    ):
        assert answer["Content-Type"] == f"application/{form}+xml; charset=utf-8"
        assert parsed(form, answer.content) == {name: plain[name] for name in ("nodes", "edges")}


@pytest.mark.usefixtures("_two_meetings")
@pytest.mark.parametrize("form", ["json", "graphml", "gexf"])
def test_errors_and_the_description_are_json(api: APIClient, form: str) -> None:
    answer = api.get(f"{GRAPH}&format={form}&colour=red")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/json")
    assert answer.json() == {"colour": ["Unknown parameter."]}
    described = api.options(f"{GRAPH}&format={form}")
    assert (described.status_code, described["Content-Type"]) == (200, "application/json")
    assert f"application/{form}" in str(described.json()["renders"])


def parsed(form: str, document: bytes) -> dict[str, Any]:
    root = ElementTree.fromstring(document)
    return {"graphml": _graphml, "gexf": _gexf}[form](root)


def _graphml(root: Element) -> dict[str, Any]:
    declared = {(key.get("for"), key.get("id")): key.get("attr.type") for key in root.iter(f"{GRAPHML}key")}
    assert declared == {("node", name): "string" for name in NAMES} | {
        ("edge", "seconds"): "double",
        ("edge", "meetings"): "long",
    }
    [graph] = root.iter(f"{GRAPHML}graph")
    assert graph.get("edgedefault") == "undirected"

    def data(element: Element) -> dict[str, str]:
        return {str(each.get("key")): each.text or "" for each in element.iter(f"{GRAPHML}data")}

    return {
        "nodes": [{"id": int(node.get("id", "")), **data(node)} for node in graph.iter(f"{GRAPHML}node")],
        "edges": [_edge(edge, data(edge)) for edge in graph.iter(f"{GRAPHML}edge")],
    }


def _gexf(root: Element) -> dict[str, Any]:
    [graph] = root.iter(f"{GEXF}graph")
    assert graph.get("defaultedgetype") == "undirected"
    assert [each.tag.removeprefix(GEXF) for each in graph] == ["attributes", "attributes", "nodes", "edges"]

    def data(element: Element) -> dict[str, str]:
        return {str(each.get("for")): str(each.get("value")) for each in element.iter(f"{GEXF}attvalue")}

    nodes = []
    for node in graph.iter(f"{GEXF}node"):
        nodes.append({"id": int(node.get("id", "")), **data(node)})
        assert node.get("label") == f"{nodes[-1]['first_name']} {nodes[-1]['last_name']}"
    edges = list(graph.iter(f"{GEXF}edge"))
    assert all(each.get("weight") == data(each)["seconds"] for each in edges)
    assert len({each.get("id") for each in edges}) == len(edges)
    return {"nodes": nodes, "edges": [_edge(each, data(each)) for each in edges]}


def _edge(element: Element, data: dict[str, str]) -> dict[str, Any]:
    return {
        "source": int(element.get("source", "")),
        "target": int(element.get("target", "")),
        "seconds": float(data["seconds"]),
        "meetings": int(data["meetings"]),
    }


# --- any names, any blocks -----------------------------------------------------------------------

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
graphs = st.lists(names, max_size=6).flatmap(
    lambda found: st.tuples(
        st.just([{"id": nth, **dict.fromkeys(NAMES, name)} for nth, name in enumerate(found)]),
        st.lists(
            st.builds(
                lambda source, target, seconds, meetings: {
                    "source": source,
                    "target": target,
                    "seconds": seconds,
                    "meetings": meetings,
                },
                st.integers(0, 5),
                st.integers(0, 2**63 - 1),
                st.floats(0, 1e10),
                st.integers(1, 2**40),
            ),
            max_size=6,
            unique_by=lambda edge: (edge["source"], edge["target"]),
        ),
    )
)


def written(renderer: Any, rows: list[dict[str, Any]], size: int) -> Iterator[bytes]:
    """As a stream is written, block by block."""
    yield renderer.opening
    for first in range(0, len(rows), size):
        if first:
            yield renderer.separator
        yield renderer.encode(rows[first : first + size])
    yield renderer.closing


@given(graphs, st.integers(1, 5))
def test_a_graph_may_be_cut_anywhere_into_blocks(graph: tuple[list, list], size: int) -> None:
    nodes, edges = graph
    for kind in (GraphJson, GraphMl, Gexf):
        whole = kind().render([*nodes, *edges])
        assert b"".join(written(kind(), [*nodes, *edges], size)) == whole
        if kind is GraphJson:
            empty = {"directed": False, "multigraph": False, "graph": {}}
            assert orjson.loads(whole) == {**empty, "nodes": nodes, "edges": edges}
        else:
            read = parsed(kind.format, whole)
            assert read["edges"] == edges
            assert [each["id"] for each in read["nodes"]] == [each["id"] for each in nodes]
            for node, original in zip(read["nodes"], nodes, strict=True):
                for one, two in zip(node["first_name"], original["first_name"], strict=True):
                    assert one in (two, "\ufffd")
