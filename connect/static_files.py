"""Static files with hashed names, also in JavaScript imports, so that browsers cache them for ever.

The modules of the web app are one file when they are collected: on a phone each request takes long.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whitenoise.storage import CompressedManifestStaticFilesStorage

from connect.js_bundle import Bundle

WEB_APP = "webapp/app.js"


class StaticFiles(CompressedManifestStaticFilesStorage):
    support_js_module_import_aggregation = True

    def post_process(self, paths: dict[str, Any], **options: Any) -> Iterator[Any]:
        if WEB_APP in paths and not options.get("dry_run"):
            self._bundle(WEB_APP, paths)
        yield from super().post_process(paths, **options)

    def _bundle(self, entry: str, paths: dict[str, Any]) -> None:
        """Replaces a collected module by the bundle of it and of its imports."""

        def read(name: str) -> str:
            storage, path = paths[name]
            with storage.open(path) as file:
                return str(file.read().decode())

        bundle = Bundle(entry, read)
        Path(self.path(entry)).write_text(bundle.text, encoding="utf-8")
        for name in bundle.modules:
            del paths[name]
        paths[entry] = (self, entry)
