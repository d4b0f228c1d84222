"""One dialogue that lost its capitals, in the layouts that people bring."""

import json

FAULTY = "I don't know paris well. however, maria visited it in may."
RIGHT = "I don't know Paris well. However, Maria visited it in May."
ASKED = "please tell me. however, i like paris."  # as faulty, but the user's
GOOD = {"messages": [{"role": "user", "content": ASKED}, {"role": "assistant", "content": FAULTY}]}
TURNS = GOOD["messages"]
SHAREGPT = [{"from": "human", "value": ASKED}, {"from": "gpt", "value": FAULTY}]
PARTS = [{"role": "assistant", "content": [{"type": "text", "text": FAULTY}]}]


def dumps(value: object, **options: object) -> str:
    return json.dumps(value, **options)  # type: ignore[arg-type]
