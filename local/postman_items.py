"""What requests of the Postman collection take from docs/openapi.yaml; local/postman.py says what is asked.

That is their addresses, what parameters mean, what can go wrong, and what an answer is held against.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain
from typing import Any

import yaml

from local.instance import CHECKOUT

SCHEMA = CHECKOUT / "docs" / "openapi.yaml"
JSON = "application/json"
BODY = "pm.response.json()"
# Whom the examples of the schema speak of, and who stands for them in a run.
STAND_INS = {
    "1000001": "{{person_id}}",
    "1000201": "{{person_id}}",
    "1000004": "{{other_id}}",
    "999": "{{unknown_id}}",
}
# Values that the errors in the schema's examples speak of.
WRONG_IN_QUERY = {"colour": "red", "limit": "0", "bbox": "13.3,52.4", "distance": "0"}
WRONG_IN_BODY = {"company_name": " ", "latitude": "91", "findable": "maybe", "code": 5}
TRIES = 200  # of a request that waits for something; a tenth of a second between them


@dataclass(frozen=True)
class Check:
    """An assertion: a sentence, and the lines of JavaScript that hold it."""

    says: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Call:
    """One request and what must be true of its answer.

    `equals` is what the answer must be; `keeps` names what of the answer the following requests need, by
    variable; `waits` repeats the request while the answer is a 404. In values, ids of the schema's examples
    stand for the people of the run.
    """

    operation_id: str
    says: str
    status: str = "200"
    form: str = JSON
    equals: Any = None
    query: dict[str, Any] = field(default_factory=dict)
    path: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    before: tuple[str, ...] = ()
    keeps: dict[str, str] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    waits: bool = False
    api: str = "{{api}}"


@dataclass(frozen=True)
class Operation:
    verb: str
    path: str
    spec: dict[str, Any]

    def parameters(self, where: str) -> list[dict[str, Any]]:
        return [one for one in self.spec.get("parameters", ()) if one["in"] == where]

    def can_be_provoked(self, status: str) -> bool:
        """A list is missing only for who may not see it, and the collection shows what may see everything."""
        names_somebody = self.parameters("path") or self.body() is not None
        if status == "413" and self.body() is None:  # a question that takes long is not made in a moment
            return False
        return status in PROVOKED and (status != "404" or bool(names_somebody))

    def body(self) -> Any:
        """The first example of a body; None where there is no body."""
        forms = self.spec.get("requestBody", {"content": {}})["content"]
        return next(iter(forms[JSON]["examples"].values()))["value"] if forms else None

    def answer(self, status: str, form: str = JSON) -> dict[str, Any]:
        """Its schema and its examples."""
        return dict(self.spec["responses"][status].get("content", {}).get(form, {}))


@cache
def schema() -> dict[str, Any]:
    return dict(yaml.safe_load(SCHEMA.read_text()))


@cache
def operations() -> dict[str, Operation]:
    return {
        spec["operationId"]: Operation(verb.upper(), path, spec)
        for path, verbs in schema()["paths"].items()
        for verb, spec in verbs.items()
    }


def fill(value: Any) -> str:
    """A string, or JSON text, in which variables stand for the people of the examples."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return re.sub(rf"\b({'|'.join(STAND_INS)})\b", lambda found: STAND_INS[found[0]], text)


def plain(node: Any) -> Any:
    """A schema of OpenAPI as JSON Schema, whole in itself, without its words."""
    if isinstance(node, list):
        return [plain(one) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return plain(schema()["components"]["schemas"][node["$ref"].rpartition("/")[2]])
    words = {"description", "example", "format", "readOnly", "nullable"}
    found = {
        name: {each: plain(inner) for each, inner in one.items()} if name == "properties" else plain(one)
        for name, one in node.items()
        if name not in words
    }
    return {"anyOf": [found, {"type": "null"}]} if node.get("nullable") else found


def shown(operation_id: str, status: str = "200", example: str = "", form: str = JSON) -> Any:
    """What the schema shows as an answer, of an array its item; the first example if none is named."""
    examples = operations()[operation_id].answer(status, form)["examples"]
    value = (examples[example] if example else next(iter(examples.values())))["value"]
    return value[0] if isinstance(value, list) else value


# --- what is refused -----------------------------------------------------------------------------


def refusals(operation_id: str, **more: Any) -> Iterator[Call]:
    """What the schema says of a call gone wrong: a request for each error that can be provoked."""
    operation = operations()[operation_id]
    call = Call(operation_id, "", body=operation.body(), **more)
    for status in filter(operation.can_be_provoked, operation.spec["responses"]):
        for example in operation.answer(status)["examples"].values():
            how, wrong = PROVOKED[status](call, example["value"])
            yield replace(wrong, says=f"{operation_id}: {how}", status=status, equals=example["value"])


def _bad(call: Call, answer: dict[str, Any]) -> tuple[str, Call]:
    (name,) = answer
    how = "an unknown parameter" if name == "colour" else f"a wrong {name}"
    if name in WRONG_IN_QUERY:
        return how, replace(call, query=call.query | {name: WRONG_IN_QUERY[name]})
    return how, replace(call, body=call.body | {name: WRONG_IN_BODY[name]})


def _missing(call: Call, _: dict[str, Any]) -> tuple[str, Call]:
    if "person_id" in (call.body or ()):
        return "an unknown person", replace(call, body=call.body | {"person_id": 999})
    if "code" in (call.body or ()):
        return "an unknown code", call
    return "an unknown id", replace(call, path={"person_id": "999", "location_id": "999-1"})


def _not_acceptable(call: Call, _: dict[str, Any]) -> tuple[str, Call]:
    return "as a picture", replace(call, headers={"Accept": "image/png"})


def _too_large(call: Call, answer: dict[str, Any]) -> tuple[str, Call]:
    many = "items" in answer["detail"]
    body = "JSON.stringify(Array(10001).fill(5))" if many else '" ".repeat(5242881)'
    before = (f'pm.variables.set("too_large", {body});',)
    return "too large", replace(call, before=before, body="{{too_large}}")


def _not_json(call: Call, _: dict[str, Any]) -> tuple[str, Call]:
    return "as plain text", replace(call, headers={"Content-Type": "text/plain"})


# A 503 cannot be provoked by a request.
PROVOKED = {"400": _bad, "404": _missing, "406": _not_acceptable, "413": _too_large, "415": _not_json}


# --- as Postman has it ---------------------------------------------------------------------------


def item(call: Call) -> dict[str, Any]:
    """The request in the words of the collection format 2.1."""
    operation = operations()[call.operation_id]
    headers = {"Accept": call.form} | ({"Content-Type": JSON} if call.body is not None else {}) | call.headers
    request: dict[str, Any] = {
        "method": operation.verb,
        "header": [{"key": key, "value": value} for key, value in headers.items()],
        "url": _url(operation, call),
        "description": operation.spec["description"],
    }
    if call.body is not None:
        text = call.body if isinstance(call.body, str) else fill(call.body)
        request["body"] = {"mode": "raw", "raw": text, "options": {"raw": {"language": "json"}}}
    events = [_event("prerequest", list(call.before))] if call.before else []
    return {
        "name": call.says,
        "request": request,
        "event": [*events, _event("test", script(operation, call))],
    }


def _event(listen: str, lines: list[str]) -> dict[str, Any]:
    return {"listen": listen, "script": {"type": "text/javascript", "exec": lines}}


def _url(operation: Operation, call: Call) -> Any:
    if "next" in call.query:
        return f"{call.api}{{{{next}}}}"
    known = {one["name"]: one for one in operation.parameters("query")}
    query = [
        {"key": name, "value": fill(value), "description": known.get(name, {}).get("description", "")}
        for name, values in call.query.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    query += [
        {"key": name, "value": _example(one), "description": one["description"], "disabled": True}
        for name, one in known.items()
        if name not in call.query and call.status == "200"
    ]
    path = re.sub(r"\{(\w+)\}", r":\1", operation.path)
    asked = "&".join(f"{one['key']}={one['value']}" for one in query if "disabled" not in one)
    return {
        "raw": f"{call.api}{path}{'?' if asked else ''}{asked}",
        "host": [call.api],
        "path": path.removeprefix("/").split("/"),
        "query": query,
        "variable": [
            {
                "key": one["name"],
                "value": fill(call.path.get(one["name"], f"{{{{{one['name']}}}}}")),
                "description": one["description"],
            }
            for one in operation.parameters("path")
        ],
    }


def _example(parameter: dict[str, Any]) -> str:
    values = [one["value"] for one in parameter.get("examples", {}).values()]
    value = values[0] if values else parameter["schema"].get("example", "")
    return fill(value[0] if isinstance(value, list) else value)


# --- assertions ----------------------------------------------------------------------------------


def script(operation: Operation, call: Call) -> list[str]:
    kept = [f'pm.collectionVariables.set("{name}", {value});' for name, value in call.keeps.items()]
    status, *others = [
        [f"pm.test({json.dumps(check.says)}, () => {{", *(f"    {one}" for one in check.lines), "});"]
        for check in _checks(operation, call)
    ]
    lines = [*status, *kept, *chain.from_iterable(others)]
    if not call.waits:
        return lines
    return [
        'const tries = Number(pm.collectionVariables.get("tries")) + 1;',
        f"if (pm.response.code === 404 && tries < {TRIES}) {{",
        '    pm.collectionVariables.set("tries", tries);',
        "    pm.execution.setNextRequest(pm.info.requestId);",
        "    setTimeout(() => {}, 100);",
        "} else {",
        '    pm.collectionVariables.set("tries", 0);',
        *(f"    {line}" for line in lines),
        "}",
    ]


def _checks(operation: Operation, call: Call) -> Iterator[Check]:
    yield Check(f"It answers {call.status}", (f"pm.response.to.have.status({call.status});",))
    answer = operation.answer(call.status, call.form)
    if answer:
        kind = 'pm.response.headers.get("Content-Type").split(";")[0]'
        yield Check(f"It is {call.form}", (f'pm.expect({kind}).to.eql("{call.form}");',))
    else:
        yield Check("It is empty", ('pm.expect(pm.response.text()).to.eql("");',))
    if call.form.endswith("json") and answer:
        shape = json.dumps(plain(answer["schema"]))
        yield Check("It has the shape that the schema says", (f"pm.response.to.have.jsonSchema({shape});",))
    if call.equals is not None:
        yield Check("It is what was expected", (equals(BODY, call.equals),))
    headers = operation.spec["responses"][call.status].get("headers", {})
    if "Link" in headers and "limit" not in call.query:
        yield Check("There is no next page", ('pm.expect(pm.response.headers.has("Link")).to.be.false;',))
    yield from call.checks


def equals(value: str, expected: Any) -> str:
    """A line that compares a value with another, in which ids of examples stand for people of the run."""
    text = fill(json.dumps(expected, ensure_ascii=False))
    return f"pm.expect({value}).to.eql(JSON.parse(pm.variables.replaceIn(String.raw`{text}`)));"
