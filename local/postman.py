"""`make openapi`: docs/postman, a Postman collection in which every request checks its answer.

local/postman.yaml has the scenario. docs/openapi.yaml has the addresses, the meaning of the parameters, the
possible errors and the shape of each answer.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from urllib.parse import quote

import yaml

from local.instance import CHECKOUT

FOLDER = CHECKOUT / "docs" / "postman"
SCENARIO = yaml.safe_load((CHECKOUT / "local" / "postman.yaml").read_text())
SCHEMA = yaml.safe_load((CHECKOUT / "docs" / "openapi.yaml").read_text())
JSON = "application/json"
CAN_BE_CAUSED = {"400", "404", "406", "413", "415"}  # by a request; a 503 cannot
ANNOTATIONS = {"description", "example", "format", "readOnly", "nullable"}  # no field has such a name
TRIES = 200  # of a request that waits for a stored ping, every tenth of a second


@dataclass(frozen=True)
class Operation:
    """An operation of the schema."""

    verb: str
    path: str
    spec: dict[str, Any]

    def body(self) -> Any:
        """The first example of a request body; None if the operation takes none."""
        content = self.spec.get("requestBody", {}).get("content")
        return next(iter(content[JSON]["examples"].values()))["value"] if content else None

    def answer(self, status: str, form: str = JSON) -> dict[str, Any]:
        """The schema and the examples of an answer; empty for one without content."""
        return dict(self.spec["responses"][status].get("content", {}).get(form, {}))

    def can_be_provoked(self, status: str) -> bool:
        if status == "413":  # only a body can be too large; a question that takes too long needs more data
            return self.body() is not None
        if status == "404":  # the collection may see every list
            return "{" in self.path or self.body() is not None
        return status in CAN_BE_CAUSED


@dataclass(frozen=True)
class Call:
    """A request and what its answer must be. The scenario describes the fields."""

    operation_id: str
    name: str = ""
    status: str = "200"
    form: str = JSON
    equals: Any = None
    query: dict[str, Any] = field(default_factory=dict)
    path: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    before: str = ""  # JavaScript that runs before the request
    keep: dict[str, str] = field(default_factory=dict)  # expressions of the answer, by variable
    checks: dict[str, str] = field(default_factory=dict)  # JavaScript, by the name of the check
    waits: bool = False  # repeats the request while the answer is 404
    api: str = "{{api}}"


@cache
def operations() -> dict[str, Operation]:
    return {
        spec["operationId"]: Operation(verb.upper(), path, spec)
        for path, verbs in SCHEMA["paths"].items()
        for verb, spec in verbs.items()
    }


def calls() -> dict[str, list[Call]]:
    """The requests of each folder, in order."""
    return {
        folder["name"]: [call for step in folder["steps"] for call in expand(step)]
        for folder in SCENARIO["folders"]
    }


# --- the steps of the scenario -------------------------------------------------------------------


def expand(step: dict[str, Any]) -> Iterator[Call]:
    match step:
        case {"create": person, "keep": variable}:
            yield create(person, variable)
        case {"delete": person}:
            yield from delete(person)
        case {"send": pings}:
            yield from send(pings)
        case {"errors": operation_ids, **more}:
            for operation_id in operation_ids:
                yield from errors(Call(operation_id, body=operations()[operation_id].body(), **more))
        case {"call": operation_id, **more}:
            yield Call(operation_id, **more)


def without_id(value: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name != "id"}


def create(person: dict[str, Any], variable: str) -> Call:
    location = 'pm.response.to.have.header("Location", `/api/persons/${pm.response.json().id}`);'
    return Call(
        "createPerson",
        f"Create {person['first_name']}",
        status="201",
        body=without_id(person),
        equals=person,
        keep={variable: "pm.response.json().id"},
        checks={"Location leads to it": location},
        api="{{persons_api}}",
    )


def delete(person: dict[str, Any]) -> Iterator[Call]:
    path, name, api = {"person_id": str(person["id"])}, person["first_name"], "{{persons_api}}"
    yield Call("deletePerson", f"Delete {name}", status="204", path=path, api=api)
    gone = {"detail": f"There is no person {person['id']}."}
    yield Call("getPerson", f"{name} is gone", status="404", path=path, equals=gone, api=api)


def send(pings: list[dict[str, Any]]) -> Iterator[Call]:
    body = [without_id(ping) for ping in pings]
    yield Call("sendPings", "Send pings", status="202", body=body, equals={"accepted": len(pings)})
    for nth, ping in enumerate(pings, 1):
        path = {"location_id": ping["id"]}
        yield Call("getLocation", f"Wait for ping {nth}", path=path, waits=True, equals=ping)


def errors(call: Call) -> Iterator[Call]:
    """A request for each error of the schema that can be caused."""
    operation = operations()[call.operation_id]
    for status in filter(operation.can_be_provoked, operation.spec["responses"]):
        for example in operation.answer(status)["examples"].values():
            what, wrong = provoke(call, status, example["value"])
            name = f"{call.operation_id}: {what}"
            yield replace(wrong, name=name, status=status, equals=example["value"])


def provoke(call: Call, status: str, answer: dict[str, Any]) -> tuple[str, Call]:
    """A name for a change of the call that causes this answer, and the changed call."""
    body, change = call.body or {}, dict[str, Any]()
    if status == "400":
        (name,) = answer
        what = "an unknown parameter" if name == "colour" else f"a wrong {name}"
        places = [where for where, wrong in SCENARIO["wrong"].items() if name in wrong]
        where = "body" if "body" in places and body else places[0]
        change[where] = (getattr(call, where) or {}) | {name: SCENARIO["wrong"][where][name]}
    elif status == "404" and "person_id" in body:
        what, change["body"] = "an unknown person", body | {"person_id": 999}
    elif status == "404" and "code" in body:
        what = "an unknown code"
    elif status == "404":
        ids = {"person_id": "999", "webhook_id": "999", "location_id": "999-1"}
        what, change["path"] = "an unknown id", ids
    elif status == "406":
        what, change["headers"] = "as an image", {"Accept": "image/png"}
    elif status == "413":
        large = (
            "JSON.stringify(Array(10001).fill(5))" if "items" in answer["detail"] else '" ".repeat(5242881)'
        )
        change = {"before": f'pm.variables.set("too_large", {large});', "body": "{{too_large}}"}
        what = "too large"
    else:
        what, change["headers"] = "as plain text", {"Content-Type": "text/plain"}
    return what, replace(call, **change)


# --- the collection format 2.1 -------------------------------------------------------------------


def item(call: Call) -> dict[str, Any]:
    operation = operations()[call.operation_id]
    headers = {"Accept": call.form} | ({} if call.body is None else {"Content-Type": JSON}) | call.headers
    request: dict[str, Any] = {
        "method": operation.verb,
        "header": pairs(headers),
        "url": url(operation, call),
        "description": operation.spec["description"],
    }
    if call.body is not None:
        request["body"] = {"mode": "raw", "raw": fill(call.body), "options": {"raw": {"language": "json"}}}
    scripts = {"prerequest": [call.before] if call.before else [], "test": script(operation, call)}
    events = [
        {"listen": listen, "script": {"type": "text/javascript", "exec": lines}}
        for listen, lines in scripts.items()
        if lines
    ]
    return {"name": call.name, "request": request, "event": events}


def pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def fill(value: Any) -> str:
    """A string, or JSON text, with variables instead of the ids of the schema's examples."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    ids = {str(key): f"{{{{{variable}}}}}" for key, variable in SCENARIO["stand_ins"].items()}
    return re.sub(rf"\b({'|'.join(ids)})\b", lambda found: ids[found[0]], text)


def url(operation: Operation, call: Call) -> str:
    if "next" in call.query:
        return f"{call.api}{{{{next}}}}"
    path = re.sub(
        r"\{(\w+)\}", lambda found: fill(call.path.get(found[1], f"{{{found[0]}}}")), operation.path
    )
    query = [
        f"{name}={quote(fill(value), safe='{},:')}"
        for name, values in call.query.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    return f"{call.api}{path}{'?' if query else ''}{'&'.join(query)}"


def script(operation: Operation, call: Call) -> list[str]:
    """The status is checked first, then variables are set: later checks may use them."""
    status, *others = [
        [f"pm.test({json.dumps(name)}, () => {{", *(f"    {line}" for line in code.splitlines()), "});"]
        for name, code in checks(operation, call).items()
    ]
    keep = [f'pm.collectionVariables.set("{name}", {value});' for name, value in call.keep.items()]
    lines = [*status, *keep, *(line for check in others for line in check)]
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


def checks(operation: Operation, call: Call) -> dict[str, str]:
    """JavaScript by the name of the check."""
    found = {f"It answers {call.status}": f"pm.response.to.have.status({call.status});"}
    answer = operation.answer(call.status, call.form)
    if not answer:
        found["It is empty"] = 'pm.expect(pm.response.text()).to.eql("");'
    else:
        kind = 'pm.response.headers.get("Content-Type").split(";")[0]'
        found[f"It is {call.form}"] = f'pm.expect({kind}).to.eql("{call.form}");'
    if answer and call.form.endswith("json"):
        shape = json.dumps(json_schema(answer["schema"]))
        found["It has the shape of the schema"] = f"pm.response.to.have.jsonSchema({shape});"
    if call.equals is not None:
        text = fill(json.dumps(call.equals, ensure_ascii=False))
        expected = f"JSON.parse(pm.variables.replaceIn(String.raw`{text}`))"
        found["It has the expected value"] = f"pm.expect(pm.response.json()).to.eql({expected});"
    if "Link" in operation.spec["responses"][call.status].get("headers", {}) and "limit" not in call.query:
        found["There is no next page"] = 'pm.expect(pm.response.headers.has("Link")).to.be.false;'
    return found | call.checks


def json_schema(schema: dict[str, Any]) -> Any:
    """A schema of OpenAPI as a self-contained JSON Schema without annotations."""

    def converted(part: dict[str, Any]) -> Any:
        if "$ref" in part:
            return json_schema(SCHEMA["components"]["schemas"][part["$ref"].rpartition("/")[2]])
        kept = {name: one for name, one in part.items() if name not in ANNOTATIONS}
        return {"anyOf": [kept, {"type": "null"}]} if part.get("nullable") else kept

    return json.loads(json.dumps(schema), object_hook=converted)


def render() -> dict[str, str]:
    """The text of each generated file of docs/postman."""
    collection = {
        "info": {
            "name": "Connect API",
            "description": "Generated by `make openapi`; docs/postman/README.md says how to run it.",
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "item": [
            {"name": folder["name"], "description": folder["description"], "item": [*map(item, requests)]}
            for folder, requests in zip(SCENARIO["folders"], calls().values(), strict=True)
        ],
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{token}}", "type": "string"}]},
        "variable": pairs(SCENARIO["variables"]),
    }
    files: dict[str, Any] = {"connect.postman_collection.json": collection}
    for file, environment in SCENARIO["environments"].items():
        files[f"{file}.postman_environment.json"] = {
            "name": environment["name"],
            "values": [one | {"enabled": True} for one in pairs(environment["variables"])],
            "_postman_variable_scope": "environment",
        }
    return {name: json.dumps(data, indent=2, ensure_ascii=False) + "\n" for name, data in files.items()}


if __name__ == "__main__":
    for name, text in render().items():
        (FOLDER / name).write_text(text)
