"""Everybody's encounters as CSV, and the graph of who met whom as JSON, GraphML and GEXF.

The graph is written as it is read, because it may not fit into memory: no library of graphs does that. Only
names need escaping, and the standard library does it; all else are numbers.
"""

import re
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import orjson

from connect.web import renderers
from connect.web.renderers import PERSON_FIELDS
from connect.web.rest import JsonRenderer, RowRenderer

_NAMES = PERSON_FIELDS[1:]
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML 1.0 not even escaped


class Csv(renderers.Csv):
    """CSV with a header; times in UTC, distances in metres, durations in seconds."""

    person_columns = [f"person_{side}_{name}" for side in "ab" for name in PERSON_FIELDS]
    fields = ("start", "end", "duration_s", "pings", "min_distance_m", "latitude", "longitude", "state")

    def people(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        people: list[dict[str, Any]] = row["persons"]
        return people


class _Graph(RowRenderer):
    """Nodes, then edges. A subclass writes blocks of each; `between` ends the nodes and begins the edges."""

    between = comma = b""

    def __init__(self) -> None:
        super().__init__()
        self._has_edges = False
        self._before = b""  # what stands before the next block

    def encode(self, rows: list[dict[str, Any]]) -> bytes:
        count = next((nth for nth, row in enumerate(rows) if "source" in row), len(rows))
        nodes, edges = rows[:count], rows[count:]
        written = b""
        if nodes:
            written += self._before + self.nodes(nodes)
            self._before = self.comma
        if edges:
            if not self._has_edges:
                self._has_edges, self._before = True, self.between
                self.closing = self.closing.removeprefix(self.between)
            written += self._before + self.edges(edges)
            self._before = self.comma
        return written

    def nodes(self, nodes: list[dict[str, Any]]) -> bytes:
        raise NotImplementedError

    def edges(self, edges: list[dict[str, Any]]) -> bytes:
        raise NotImplementedError


class GraphJson(_Graph, JsonRenderer):
    """Node-link JSON, as D3 and NetworkX read it."""

    opening = b'{"directed":false,"multigraph":false,"graph":{},"nodes":['
    between, comma = b'],"edges":[', b","
    separator = b""
    closing = between + b"]}"

    def nodes(self, nodes: list[dict[str, Any]]) -> bytes:
        return orjson.dumps(nodes)[1:-1]

    def edges(self, edges: list[dict[str, Any]]) -> bytes:
        return orjson.dumps(edges)[1:-1]

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        if isinstance(data, list):
            return RowRenderer.render(self, data)
        return JsonRenderer.render(self, data, accepted_media_type, renderer_context)  # an error


def _text(value: str) -> str:
    """Text of an element. Characters that XML cannot have become U+FFFD."""
    return escape(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", value), {"\r": "&#13;"})


def _attribute(value: str) -> str:
    """A quoted attribute."""
    return quoteattr(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", value))


class GraphMl(_Graph):
    """GraphML, as yEd, Gephi, igraph and NetworkX read it."""

    media_type = "application/graphml+xml"
    format = "graphml"
    opening = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
        + "".join(f'<key id="{name}" for="node" attr.name="{name}" attr.type="string"/>\n' for name in _NAMES)
        + '<key id="seconds" for="edge" attr.name="seconds" attr.type="double"/>\n'
        '<key id="meetings" for="edge" attr.name="meetings" attr.type="long"/>\n'
        '<graph id="encounters" edgedefault="undirected">\n'
    ).encode()
    closing = b"</graph>\n</graphml>\n"

    def nodes(self, nodes: list[dict[str, Any]]) -> bytes:
        return "".join(
            f'<node id="{node["id"]}">'
            + "".join(f'<data key="{name}">{_text(node[name])}</data>' for name in _NAMES)
            + "</node>\n"
            for node in nodes
        ).encode()

    def edges(self, edges: list[dict[str, Any]]) -> bytes:
        return "".join(
            f'<edge source="{edge["source"]}" target="{edge["target"]}">'
            f'<data key="seconds">{edge["seconds"]}</data>'
            f'<data key="meetings">{edge["meetings"]}</data></edge>\n'
            for edge in edges
        ).encode()


class Gexf(_Graph):
    """GEXF 1.2, as Gephi and NetworkX read it. The weight of an edge is its seconds."""

    media_type = "application/gexf+xml"
    format = "gexf"
    opening = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<gexf xmlns="http://www.gexf.net/1.2draft" version="1.2">\n'
        '<graph mode="static" defaultedgetype="undirected">\n<attributes class="node">\n'
        + "".join(f'<attribute id="{name}" title="{name}" type="string"/>\n' for name in _NAMES)
        + '</attributes>\n<attributes class="edge">\n'
        '<attribute id="seconds" title="seconds" type="double"/>\n'
        '<attribute id="meetings" title="meetings" type="long"/>\n'
        "</attributes>\n<nodes>\n"
    ).encode()
    between = b"</nodes>\n<edges>\n"
    closing = between + b"</edges>\n</graph>\n</gexf>\n"

    def nodes(self, nodes: list[dict[str, Any]]) -> bytes:
        return "".join(
            f'<node id="{node["id"]}" label={_attribute(node["first_name"] + " " + node["last_name"])}>'
            "<attvalues>"
            + "".join(f'<attvalue for="{name}" value={_attribute(node[name])}/>' for name in _NAMES)
            + "</attvalues></node>\n"
            for node in nodes
        ).encode()

    def edges(self, edges: list[dict[str, Any]]) -> bytes:
        return "".join(
            f'<edge id="{edge["source"]}-{edge["target"]}" source="{edge["source"]}" '
            f'target="{edge["target"]}" weight="{edge["seconds"]}"><attvalues>'
            f'<attvalue for="seconds" value="{edge["seconds"]}"/>'
            f'<attvalue for="meetings" value="{edge["meetings"]}"/></attvalues></edge>\n'
            for edge in edges
        ).encode()
