"""Where third-party records for the tests lie; tests that need them skip, with a reason, when they
are not there.
"""

import os
from pathlib import Path

import pytest

REAL = Path(
    os.environ.get("ZEPHYR_REAL_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
)


def needs(folder: str) -> pytest.MarkDecorator:
    """Skip unless the folder of records is there (they are not ours to ship)."""
    reason = f"the records {folder!r} are not here; set ZEPHYR_REAL_DATA to their folder"
    return pytest.mark.skipif(not (REAL / folder).is_dir(), reason=reason)
