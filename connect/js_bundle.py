"""Puts a JavaScript module and the modules that it imports into one file, without a tool outside of Python.

It knows the forms of import and export that the web app uses; any other one raises `UnknownForm`.
"""

import posixpath
import re
from collections.abc import Callable

_IMPORT = re.compile(
    r'^import (?:\{ (?P<names>[^}]+) \}|\* as (?P<all>\w+)) from "(?P<url>\.[^"]+)";\n', re.MULTILINE
)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:const|function\*?|class)[ *]+(?P<name>\w+))", re.MULTILINE)
_LEFT_OVER = re.compile(r"^(?:import|export)\b(?!\().*", re.MULTILINE)
_COMMENT = re.compile(r"^[ ]*(?://[^\n]*|/\*(?:(?!\*/).)*\*/[ ]*)\n", re.MULTILINE | re.DOTALL)
VENDOR = "vendor/"  # published modules stay files of their own


class UnknownForm(ValueError):
    """An import or export that a bundle cannot have, or a circular import."""


class Bundle:
    """`text`: the bundle of the module `entry`. `modules`: the names of its modules, imported ones first.

    `read(name)` returns the source of a module. Each module is a function that returns its exports.
    """

    def __init__(self, entry: str, read: Callable[[str], str]) -> None:
        self._read = read
        self._parts: dict[str, str] = {}
        self._vendor: dict[str, str] = {}  # import statement by name
        self._folder = posixpath.dirname(entry)
        self._add(entry, ())
        self.modules = list(self._parts)
        self.text = "\n".join([*self._vendor.values(), *self._parts.values(), ""])

    def _add(self, name: str, importers: tuple[str, ...]) -> None:
        if name in importers:
            raise UnknownForm(" imports ".join((*importers, name)))
        if name in self._parts:
            return
        source = self._read(name)

        def load(match: re.Match[str]) -> str:
            imported = posixpath.normpath(posixpath.join(posixpath.dirname(name), match["url"]))
            if imported.startswith(VENDOR):
                url = posixpath.relpath(imported, self._folder)
                self._vendor[imported] = f'import * as {_variable(imported)} from "{url}";'
            else:
                self._add(imported, (*importers, name))
            names = match["all"] or f"{{ {match['names'].replace(' as ', ': ')} }}"
            return f"const {names} = {_variable(imported)};\n"

        body = _IMPORT.sub(load, _COMMENT.sub("", source))
        exported = ", ".join(match["name"] for match in _EXPORT.finditer(body))
        body = _EXPORT.sub("", body)
        if unknown := _LEFT_OVER.search(body):
            raise UnknownForm(f"{name}: {unknown[0]}")
        self._parts[name] = f"const {_variable(name)} = (() => {{\n{body}return {{ {exported} }};\n}})();"


def _variable(name: str) -> str:
    return "$" + re.sub(r"\W", "_", name)
