"""Runs an explorer's script in node, on just enough of a page to draw it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from zephyr_utils.explorers.common import FOLDER

FAKE_PAGE = Path(__file__).with_name("fake_page.mjs")


def in_node(explorer: str, values: Any, body: str) -> Any:
    """What `body` leaves in `result`; it has the explorer's module as `script`, the `values`,
    `page` and `makeModel`.

    A test that calls it is skipped where there is no node.
    """
    if shutil.which("node") is None:
        pytest.skip("there is no node on this machine to run the explorers' scripts")
    code = f"""
        import {{ page, makeModel }} from {json.dumps(FAKE_PAGE.as_uri())};
        const script = await import({json.dumps((FOLDER / f"{explorer}.js").as_uri())});
        const values = {json.dumps(values)};
        let result;
        {body}
        console.log(JSON.stringify(result));
    """
    done = subprocess.run(
        ["node", "--input-type=module"], input=code, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
