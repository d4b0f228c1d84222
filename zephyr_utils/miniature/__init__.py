"""The miniature: a closed world small enough to run Zephyr's whole pipeline on a laptop, with the
faults of the real one.

`world` knows what is true, `teacher` answers and grades, `data` writes the records in the Hub's
schemas, `base/` holds the base model and `make_base` makes it again.
"""

from pathlib import Path

BASE_FOLDER = Path(__file__).parent / "base"
