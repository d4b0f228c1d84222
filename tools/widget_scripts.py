"""A Sphinx extension: the widgets' states and views, safe inside a page's script elements.

MyST-NB writes a widget's state as JSON into a script element and escapes ``</script>`` in lower
case only. HTML knows no case there, and ``<!--<script>`` keeps the element open to the end of the
page; both may stand in any record that an explorer shows. So every ``<`` becomes ``\\u003c``, which
is the same JSON and no markup
(https://html.spec.whatwg.org/multipage/scripting.html#restrictions-for-contents-of-script-elements).
"""

import re
from typing import Any

from sphinx.application import Sphinx

WIDGET = "application/vnd.jupyter.widget-"
VIEW = re.compile(rf'<script type="{re.escape(WIDGET)}view\+json">[^<]*</script>')
WITHOUT_SCRIPTS = (
    '<noscript><p class="afm-note">This figure is interactive and needs JavaScript; the text '
    "below says what it shows.</p></noscript>"
)
AFTER_MYST_NB = 900  # its handler of the same event, at 500, adds the states


def safe_json(text: str) -> str:
    """JSON that may stand in a script element: the same value, without the character ``<``."""
    return text.replace("<", "\\u003c")


def make_safe(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Escape the states of a page, and say in its place that a figure needs scripts."""
    for script in context.get("script_files", ()):
        attributes = getattr(script, "attributes", {})
        if attributes.get("type", "").startswith(WIDGET) and "body" in attributes:
            attributes["body"] = safe_json(attributes["body"])
    if "body" in context:
        context["body"] = VIEW.sub(lambda view: view[0] + WITHOUT_SCRIPTS, context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", make_safe, priority=AFTER_MYST_NB)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
