"""Laws that hold for whatever is generated, how many examples each is tried on, and their count.

`make fuzz` runs all suites of laws at length and prints how many calls were generated; `make test`
runs their quick form.
"""

import contextlib
import inspect
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import wraps
from pathlib import Path

from hypothesis import HealthCheck, given, settings

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
N_EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "20000")) if LONG else 60
CALLS: Counter[str] = Counter()  # by law; one call is one example that was generated and tried
FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder for one call, in memory where the system has a place for that: flushing a
    file to disk takes up to 40 ms, and pytest keeps each `tmp_path` and lists all of them for the
    next.
    """
    memory = "/dev/shm"
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="laws-", dir=place) as name:
        yield Path(name)


def law(*strategies, share=1.0, folder=False, **named):
    """`hypothesis.given`, with the number of examples that was asked for, counted in `CALLS`.

    Args:
        share: of that number, for laws whose calls write and read files.
        folder: give every call a `scratch` folder, as its first argument.
    """
    examples = max(10, int(N_EXAMPLES * share))

    def decorate(test):
        @wraps(test)
        def counted(*arguments, **values):
            CALLS[f"{test.__module__}.{test.__name__}"] += 1
            if not folder:
                return test(*arguments, **values)
            with scratch() as place:
                return test(place, *arguments, **values)

        if folder:  # or pytest would look for a fixture of that name
            signature = inspect.signature(test)
            others = list(signature.parameters.values())[1:]
            counted.__signature__ = signature.replace(parameters=others)
        tried = given(*strategies, **named)(counted)
        return settings(max_examples=examples, deadline=None, suppress_health_check=FIXTURES)(tried)

    return decorate
