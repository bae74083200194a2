"""Writes a policy file in the one layout that reviewers know, comments kept. Pure.

Keys come in the order in which they are read; whatever was in brackets stays so while it fits
into a line. What the file means is not touched: the result is read again, and refused if it
says anything else, or lacks a comment.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from policies.commented import Entry, Node, Written, comments_of, read_written
from policies.document import Document, DocumentError, Path, Problem, read_document
from policies.mistakes import keys_at, schema_problems
from policies.resolve import PolicyError
from policies.schema import PolicyDocument

WIDTH = 100

# Who and where, when, what is done, in which mode, what is said, and the proof.
_RULE = (
    *("id", "category", "classifiers", "escalate_at", "stages", "scope", "when", "bands"),
    *("on_unavailable", "on_unsupported_language", "mode", "locked", "exemptible", "code"),
    *("message", "tests"),
)


def format_policy(content: bytes, name: str) -> str:
    """Return a policy file in its canonical layout.

    Args:
        content: The file.
        name: What to call it in errors.

    Raises:
        PolicyError: If it is not a policy file, or cannot be written without a loss.
    """
    before = _checked(content, name)
    text = content.decode("utf-8-sig").replace("\r\n", "\n")
    written = "".join(f"{line}\n" for line in _document(read_written(text)))
    after = _checked(written.encode(), name)
    if after.value != before.value or comments_of(written) != comments_of(text):
        raise PolicyError(name, [Problem(1, 1, "the file cannot be written anew without a loss")])
    return written


def _checked(content: bytes, name: str) -> Document:
    try:
        document = read_document(content)
    except DocumentError as error:
        raise PolicyError(name, [error.problem]) from error
    problems = list(document.problems)
    try:
        PolicyDocument.model_validate(document.value)
    except ValidationError as error:
        problems += schema_problems(error, document)
    if problems:
        raise PolicyError(name, problems)
    return document


def _document(written: Written) -> list[str]:
    body = _mapping(written.root, 0, ())
    while body and not body[0]:
        body.pop(0)
    above = ["", *written.tail] if any(written.tail) and written.tail[0] else written.tail
    lines = [*written.head, *body, *above]
    return lines[1:] if not lines[0] else lines


def _mapping(node: Node, indent: int, path: Path) -> list[str]:
    lines: list[str] = []
    for entry in _ordered(node, path):
        lines += _comments(entry.before, indent)
        lines += _entry(entry, f"{' ' * indent}{entry.key}:", indent, (*path, entry.name))
    return lines


def _sequence(node: Node, indent: int, path: Path) -> list[str]:
    lines: list[str] = []
    for entry in node.entries:
        lines += _comments(entry.before, indent)
        lines += _item(entry, indent, (*path, 0))
    return lines


def _item(entry: Entry, indent: int, path: Path) -> list[str]:
    dash = f"{' ' * indent}-"
    node = entry.node
    if node.lines or not node.entries or _flow_fits(entry, dash, path) or not node.mapping:
        return _entry(entry, dash, indent, path)
    inner = _mapping(node, indent + 2, path)
    first = next(at for at, line in enumerate(inner) if line and not line.lstrip().startswith("#"))
    above = [f"{' ' * indent}{line.strip()}" if line else line for line in inner[:first]]
    if entry.after:
        above.append(f"{' ' * indent}{entry.after}")
    return [*above, f"{dash} {inner[first].lstrip()}", *inner[first + 1 :]]


def _entry(entry: Entry, head: str, indent: int, path: Path) -> list[str]:
    """Return the lines of a value behind its key or dash."""
    node = entry.node
    behind = f"  {entry.after}" if entry.after else ""
    if node.lines:
        first, *rest = node.lines
        block = [f"{' ' * (indent + 2)}{line}".rstrip() for line in rest]
        return [f"{head} {first}".rstrip() + behind, *block]
    if not node.entries or _flow_fits(entry, head, path):
        return [f"{head} {_flow(node, path)}{behind}"]
    write = _mapping if node.mapping else _sequence
    return [head + behind, *write(node, indent + 2, path)]


def _flow_fits(entry: Entry, head: str, path: Path) -> bool:
    node = entry.node
    if not node.flow or _remarked(node):
        return False
    behind = len(entry.after) + 2 if entry.after else 0
    return len(head) + 1 + len(_flow(node, path)) + behind <= WIDTH


def _remarked(node: Node) -> bool:
    return any(any(entry.before) or entry.after or _remarked(entry.node) for entry in node.entries)


def _flow(node: Node, path: Path) -> str:
    if not node.mapping and not node.entries and node.lines:
        return node.lines[0]
    if node.mapping:
        pairs = (
            f"{entry.key}: {_flow_value(entry.node, (*path, entry.name))}".rstrip()
            for entry in _ordered(node, path)
        )
        return "{" + ", ".join(pairs) + "}"
    return "[" + ", ".join(_flow_value(each.node, (*path, 0)) for each in node.entries) + "]"


def _flow_value(node: Node, path: Path) -> str:
    return node.lines[0] if node.lines else _flow(node, path)


def _comments(before: Sequence[str], indent: int) -> list[str]:
    return [f"{' ' * indent}{comment}" if comment else "" for comment in before]


def _ordered(node: Node, path: Path) -> list[Entry]:
    """Return the entries as the format lists its keys; names that an author chose stay."""
    known = _RULE if len(path) == 2 and path[0] == "rules" else list(keys_at(path, PolicyDocument))
    order = {name: at for at, name in enumerate(known)}
    if not all(entry.name in order for entry in node.entries):
        return node.entries
    return sorted(node.entries, key=lambda entry: order[entry.name])
