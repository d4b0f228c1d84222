"""The smallest good record of each kind, for the tests to copy and to spoil."""

USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Hello."}
SYSTEM = {"role": "system", "content": "Be brief."}
DIALOGUE = {"messages": [USER, ASSISTANT]}
PAIR = {
    "prompt": "Hi",
    "chosen": [USER, ASSISTANT],
    "rejected": [USER, {"role": "assistant", "content": "No."}],
    "score_chosen": 8,
    "score_rejected": 3.5,
}
FLAT = {
    "prompt": "Hi",
    "chosen": "Hello.",
    "rejected": "No.",
    "source_index": 7,
    "metadata": {"score_chosen": 8.0, "score_rejected": 3.5},
}
FEEDBACK = {
    "source": "made up",
    "instruction": "Hi",
    "models": ["a", "b"],
    "completions": [
        {
            "model": "a",
            "response": "Hello.",
            "annotations": {"honesty": {"Rating": "5", "Rationale": "It is true."}},
            "critique": "Good.",
            "overall_score": 9,
        },
        {"model": "b", "response": "No."},
    ],
}
