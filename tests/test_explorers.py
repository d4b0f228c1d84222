"""What all explorers share: texts that are shortened, and texts that no file can hold."""

import json

import pytest
import traitlets
from explorer_scripts import in_node

from zephyr_utils.explorers.common import FOLDER, Explorer, script, shortened, writable


class Shown(Explorer):
    rows = traitlets.List().tag(sync=True)
    title = traitlets.Unicode().tag(sync=True)


def test_a_short_text_is_shown_whole_and_a_long_one_says_how_much_is_missing():
    assert shortened("a" * 10, 10) == "a" * 10
    assert shortened("a" * 11, 10) == f"{'a' * 10} … (1 characters more)"


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\udc00\ud800"])
def test_half_of_a_surrogate_pair_is_replaced_at_any_depth_so_that_the_notebook_can_be_saved(text):
    widget = Shown(rows=[{text: [text, 1, None]}], title=text)
    state = {name: widget.get_state()[name] for name in ("rows", "title")}
    written = json.dumps(state, ensure_ascii=False).encode()
    assert b"\xef\xbf\xbd" in written and json.loads(written) == state
    assert widget.rows[0] == {writable(text): [writable(text), 1, None]}


def test_other_text_is_left_as_it_is():
    text = "é 😀 </script> $x$ \u2028"
    assert writable({"a": [text, (text,)], "b": 1.5}) == {"a": [text, (text,)], "b": 1.5}


# --- scripts --------------------------------------------------------------------------------------

SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.js") if path.stem != "model")
SHARED = ("casing", "chart", "live", "sha256")  # which are put into others


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_stands_alone_and_writes_nothing_as_html(name):
    text = script(name)
    words = ("innerHTML", "insertAdjacent", "import {", "import *", "eval(", "https:")
    assert not [word for word in words if word in text]


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in SHARED])
def test_a_script_with_what_it_shares_put_into_it_is_a_widget(name, tmp_path):
    delivered = tmp_path / "delivered.mjs"
    delivered.write_text(script(name), encoding="utf-8")
    body = "result = typeof (await import(values)).default.render;"
    assert in_node(name, delivered.as_uri(), body) == "function"
