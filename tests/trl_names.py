"""Which names the installed Transformers has: recipes are written with the newest."""

import dataclasses

import pytest
import trl

from zephyr_utils.recipes import RENAMED_FIELDS

_FIELDS = {field.name for field in dataclasses.fields(trl.SFTConfig)}

# The package translates a renamed argument for an older release; TRL's own parser does not.
needs_newest_names = pytest.mark.skipif(
    not RENAMED_FIELDS.keys() <= _FIELDS,
    reason="this Transformers has an older name for an argument of the recipes",
)
