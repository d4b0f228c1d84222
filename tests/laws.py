"""Laws that hold for whatever is generated, how many examples each is tried on, and their count.

`make fuzz` runs all suites of laws at length and prints how many calls were generated; `make test`
runs their quick form.
"""

import os
from collections import Counter
from functools import wraps

from hypothesis import HealthCheck, given, settings

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
N_EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "20000")) if LONG else 60
CALLS: Counter[str] = Counter()  # by law; one call is one example that was generated and tried
FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


def law(*strategies, share=1.0, **named):
    """`hypothesis.given`, with the number of examples that was asked for, counted in `CALLS`.

    Args:
        share: of that number, for laws whose calls write and read files.
    """
    examples = max(10, int(N_EXAMPLES * share))

    def decorate(test):
        @wraps(test)
        def counted(*arguments, **values):
            CALLS[f"{test.__module__}.{test.__name__}"] += 1
            return test(*arguments, **values)

        tried = given(*strategies, **named)(counted)
        return settings(max_examples=examples, deadline=None, suppress_health_check=FIXTURES)(tried)

    return decorate
