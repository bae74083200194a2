"""What `ostiary policy import-pack` does: a judge pack becomes files of ours.

A pack is a folder with `policy.md`, as gpt-oss-safeguard reads it, and one labelled CSV. What
it becomes stands in one folder: the written policy for the judges file, a policy file that
asks the judge, the labelled set for `policy test` and the floors it has to keep. All of it
is checked before the first file is written.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from classifiers.judges.pack import adopt_policy
from classifiers.judges.written_policy import parse_policy
from gateway.policy_examples import FLOORS, FOLDER
from policies.labelled import Example, read_examples, read_floors
from policies.load import parse_policy as parse_policy_file
from policies.load import refuse_failures
from policies.packs import Pack, pack_policy
from policies.testing import run_score_tests

POLICY = "policy.md"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_FLOOR = """
[{name}]  # of the judge on its labelled set; set it to what you measured
recall = 0.8
false_positives = 0.1
"""


class PackError(ValueError):
    """A pack cannot be imported; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What a pack becomes.

    Attributes:
        name: Of the policy.
        category: What the judge decides.
        files: What is to be written where.
        examples: How many there are.
    """

    name: str
    category: str
    files: Mapping[Path, str]
    examples: int

    def write(self) -> None:
        """Write the files; a folder that is not there is made."""
        for path, text in self.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def read_pack(
    folder: Path, out: Path, name: str | None = None, judge: str = "safeguard"
) -> Imported:
    """Read a pack and make its files; nothing is written.

    Args:
        folder: Where the pack is.
        out: Where its files are to be.
        name: What to call the policy; None means as the folder is called.
        judge: What rules call the judge.

    Raises:
        PackError: If a file is not there, or would be overwritten.
        ValueError: If a file cannot be used; names file and line.
        PolicyError: If what comes out is no policy.
    """
    own = name or re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    if _NAME.fullmatch(own) is None:
        raise PackError(f"`{own[:80]}` is no name: lower-case letters, digits and hyphens")
    category = f"custom/{own}"
    written = adopt_policy(_text(folder / POLICY), str(folder / POLICY), category, own)
    labelled = _labelled(folder)
    examples = read_examples(labelled.read_bytes(), str(labelled), category)
    title = parse_policy(own, written).text.partition("\n")[0].removeprefix("# ")
    policy = pack_policy(Pack(own, title, category, examples, judge))
    file = parse_policy_file(policy.encode(), f"{own}.yaml")
    refuse_failures(file, run_score_tests(file.policy, file.tests))
    files = {
        out / f"{own}.md": written,
        out / f"{own}.yaml": policy,
        out / FOLDER / f"{own}.csv": _rows(examples, category),
    }
    for path in files:
        if path.exists():
            raise PackError(f"{path}: the file is there already")
    return Imported(own, category, {**files, **_floors(out / FOLDER / FLOORS, own)}, len(examples))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PackError(f"{path}: {(error.strerror or 'it cannot be read').lower()}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise PackError(f"{path}:{line}: the file is not UTF-8") from error


def _labelled(folder: Path) -> Path:
    found = sorted(folder.glob("*.csv"))
    if len(found) != 1:
        listed = ", ".join(path.name for path in found) or "none"
        raise PackError(f"{folder}: a pack has one labelled CSV, and here is {listed}")
    return found[0]


def _rows(examples: Sequence[Example], category: str) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["id", "text", "stage", "category", "label"])
    for each in examples:
        rows.writerow([each.id, each.text, each.stage.value, category, int(each.label)])
    return text.getvalue()


def _floors(path: Path, name: str) -> dict[Path, str]:
    """Return the floors with a table for `name`; one that is there stays as it is."""
    before = (
        _text(path) if path.exists() else "# What each policy has to show on its labelled set.\n"
    )
    known = read_floors(before.encode(), str(path))
    return {} if name in known else {path: before.rstrip("\n") + "\n" + _FLOOR.format(name=name)}
