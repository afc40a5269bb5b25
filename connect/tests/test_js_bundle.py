"""Browser tests run the bundle of the web app; these test what it contains, and what it refuses."""

import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders

from connect.js_bundle import Bundle, UnknownForm
from connect.static_files import WEB_APP

MODULES = {
    "app/main.js": 'import { add, LIMIT as MOST } from "./sums.js";\nimport * as words from "./words.js";\n\n'
    "/** Of several\n * lines. */\nexport const text = words.greet(add(MOST, 1)); // kept\n",
    "app/sums.js": "// Of one line.\nconst hidden = 40;\nexport const LIMIT = hidden + 1;\n"
    "export function add(one, other) {\n  return one + other;\n}\n",
    "app/words.js": 'import { html } from "../vendor/html.js";\nimport { add } from "./sums.js";\n\n'
    "const hidden = 1;\nexport const greet = (name) => html`${name} ${add(hidden, 1)}`;\n",
}


def test_a_bundle_has_each_module_once_as_a_function_after_those_that_it_imports() -> None:
    bundle = Bundle("app/main.js", MODULES.__getitem__)
    assert bundle.modules == ["app/sums.js", "app/words.js", "app/main.js"]
    assert bundle.text == (
        'import * as $vendor_html_js from "../vendor/html.js";\n'
        "const $app_sums_js = (() => {\n"
        "const hidden = 40;\nconst LIMIT = hidden + 1;\n"
        "function add(one, other) {\n  return one + other;\n}\n"
        "return { LIMIT, add };\n})();\n"
        "const $app_words_js = (() => {\n"
        "const { html } = $vendor_html_js;\nconst { add } = $app_sums_js;\n\nconst hidden = 1;\n"
        "const greet = (name) => html`${name} ${add(hidden, 1)}`;\n"
        "return { greet };\n})();\n"
        "const $app_main_js = (() => {\n"
        "const { add, LIMIT: MOST } = $app_sums_js;\nconst words = $app_words_js;\n\n"
        "const text = words.greet(add(MOST, 1)); // kept\n"
        "return { text };\n})();\n"
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("export default 1;\n", "main.js: export default 1;"),
        ('import sums from "./sums.js";\n', "main.js: import sums"),
        ('export { add } from "./sums.js";\n', "main.js: export { add }"),
        ('import { text } from "./main.js";\n', "app/main.js imports app/main.js"),
    ],
)
def test_a_bundle_refuses_forms_that_it_does_not_know_and_circles(changed: str, message: str) -> None:
    modules = MODULES | {"app/main.js": changed}
    with pytest.raises(UnknownForm, match=re.escape(message)):
        Bundle("app/main.js", modules.__getitem__)


def test_the_bundle_of_the_web_app_has_all_of_its_modules() -> None:
    def read(name: str) -> str:
        found = finders.find(name)
        assert isinstance(found, str)
        return Path(found).read_text()

    bundle = Bundle(WEB_APP, read)
    folder = Path(str(finders.find(WEB_APP))).parent
    assert sorted(bundle.modules) == sorted(f"webapp/{path.name}" for path in folder.glob("*.js"))
    assert all(
        line.startswith("import * as $vendor_") for line in bundle.text.splitlines() if line[:6] == "import"
    )
