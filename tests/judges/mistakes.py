"""Shows that each check of own.py can fail: every mistake of mistakes.json is made, one at a time, and found by its check and
by no other (but those that it names with `and`). A check without a mistake fails too.
"""

import json
import pathlib
import sys

from own import CHECKS, ROOT, Subject, judged

HERE = pathlib.Path(__file__).resolve().parent


def made(mistake, texts):
    """The texts with the mistake in them."""
    path = mistake["file"]
    text = texts.setdefault(path, (ROOT / path).read_text())
    if mistake["replace"] not in text:
        raise SystemExit(f"mistakes.json: `{mistake['replace']}` is not in {path}")
    wrong = mistake["with"].replace("%LONG%", "x" * 5000)
    return {**texts, path: text.replace(mistake["replace"], wrong, mistake.get("times", 1))}


def main():
    failures = 0
    texts = {}
    before = {(one["check"], one["resource"], one["message"]) for one in judged(Subject(dict(texts)))["findings"]}
    mistakes = json.loads((HERE / "mistakes.json").read_text())["own"]
    for mistake in mistakes:
        found = judged(Subject(made(mistake, texts)))["findings"]
        checks = {one["check"] for one in found if (one["check"], one["resource"], one["message"]) not in before}
        if checks != {mistake["check"], *mistake.get("and", [])}:
            failures += 1
            print(f"  `{mistake['replace']}` -> `{mistake['with']}`: wanted {mistake['check']}, found {sorted(checks)}")
    untested = sorted(set(CHECKS) - {mistake["check"] for mistake in mistakes})
    for check in untested:
        print(f"  no mistake shows that `{check}` can fail")
    print(f"mistakes for own: {len(mistakes)}, found {len(mistakes) - failures}, checks {len(CHECKS)}")
    return min(failures + len(untested), 255)


if __name__ == "__main__":
    sys.exit(main())
