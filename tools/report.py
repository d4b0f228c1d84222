"""Open an issue for the failed jobs of a scheduled workflow; if one is open, add a comment to it.

Usage: python tools/report.py, with the variables TITLE, RUN (the address of the run) and NEEDS (the
workflow's `needs` as JSON). `gh` finds the repository and its token in GH_REPO and GH_TOKEN.
"""

import json
import os
import subprocess


def failed_jobs(needs: str) -> list[str]:
    """The names of the jobs that failed or were cancelled, as a job is that takes too long."""
    fine = ("success", "skipped")
    return sorted(name for name, job in json.loads(needs).items() if job["result"] not in fine)


def main() -> None:
    title, body = os.environ["TITLE"], os.environ["RUN"]
    body = f"Failed: {', '.join(failed_jobs(os.environ['NEEDS']))}. The run: {body}"
    listed = _gh("issue", "list", "--state", "open", "--json", "number,title", "--limit", "200")
    same = [issue["number"] for issue in json.loads(listed) if issue["title"] == title]
    if same:
        print(_gh("issue", "comment", str(same[0]), "--body", body))
    else:
        print(_gh("issue", "create", "--title", title, "--body", body))


def _gh(*arguments: str) -> str:
    return subprocess.run(["gh", *arguments], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
