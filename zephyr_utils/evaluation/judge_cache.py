"""Keep what a judge said as it says it: a run that is killed after 120 of 160 paid judgments asks
for 40 more.
"""

import hashlib
import json
from pathlib import Path

from zephyr_utils.evaluation.judges import FAILED, Judge, Judgment, PairwiseJudgment


class CachingJudge:
    """A judge whose judgments are appended to a file and read back from it, by what was shown to
    the judge.

    Failed judgments are not kept, so that the next run asks for them again. The file holds one JSON
    object a line; a last line that was cut short by a kill is passed over.

    Args:
        judge: who is asked for whatever the file does not hold.
        path: the file, made with its first judgment.
    """

    def __init__(self, judge: Judge, path: Path) -> None:
        self.name = judge.name
        self._judge, self._path = judge, Path(path)
        self._known: dict[str, dict] = {}
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                    self._known[row["key"]] = row["said"]
                except (ValueError, KeyError, TypeError):
                    continue

    def grade(self, question: dict, answers: list[str], turn: int) -> Judgment:
        """See :class:`~zephyr_utils.evaluation.judges.Judge`."""
        key = self._key("grade", question, answers[:turn], turn)
        if key in self._known:
            return Judgment(**self._known[key])
        said = self._judge.grade(question, answers, turn)
        if said.score != FAILED:
            self._keep(
                key, {"text": said.text, "score": said.score, "prompt_name": said.prompt_name}
            )
        return said

    def compare(self, question: dict, answer_a: str, answer_b: str) -> PairwiseJudgment:
        """See :class:`~zephyr_utils.evaluation.judges.Judge`."""
        key = self._key("compare", question, [answer_a, answer_b], 1)
        if key in self._known:
            return PairwiseJudgment(**self._known[key])
        said = self._judge.compare(question, answer_a, answer_b)
        if said.winner != "error":
            self._keep(
                key, {"text": said.text, "winner": said.winner, "prompt_name": said.prompt_name}
            )
        return said

    def _key(self, what: str, question: dict, answers: list[str], turn: int) -> str:
        shown = [self.name, what, question["turns"], question.get("reference"), answers, turn]
        return hashlib.sha256(json.dumps(shown, ensure_ascii=False).encode()).hexdigest()

    def _keep(self, key: str, said: dict) -> None:
        self._known[key] = said
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # A line that a kill cut short must not swallow the next one.
        with self._path.open("a+", encoding="utf-8") as file:
            if file.tell():
                file.seek(file.tell() - 1)
                if file.read(1) != "\n":
                    file.write("\n")
            file.write(json.dumps({"key": key, "said": said}, ensure_ascii=False) + "\n")
