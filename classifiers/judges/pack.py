"""Written policies from elsewhere, brought into the form that we read.

gpt-oss-safeguard packs agree on the parts (INSTRUCTIONS, DEFINITIONS, VIOLATES, SAFE,
EXAMPLES) and not on how a heading looks: `## VIOLATES (1)`, `**VIOLATES POLICY**`,
`SAFE CONTENT (0):`. Other headings stay as they are, one level down, in the part where they
stand. A placeholder for the content at the end goes: a judge of ours is shown it apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from classifiers.judges.categories import near
from classifiers.judges.written_policy import SECTIONS, parse_policy

_PARTS = {section.partition(" ")[0]: section for section in SECTIONS}
_HEADING = re.compile(
    r"(?:#{1,6}\s+)?(?:\*\*)?"
    r"(INSTRUCTIONS?|DEFINITIONS?|VIOLATES|VIOLATIONS?|SAFE|EXAMPLES?)"
    r"(?:\s+(?:POLICY|CONTENT|CRITERIA))?(?:\s*\(\s*[01]\s*\))?\s*:?(?:\*\*)?\s*:?",
    re.IGNORECASE,
)
_MARKED = re.compile(r"(?:#{1,6}\s+.+|\*\*[^*]+\*\*:?)")  # looks like a heading all the same
_TITLE = re.compile(r"#\s+(\S.*)")
_PLACEHOLDER = re.compile(
    r"(?:content|input|text)?[^\n]{0,40}(?:\{\{[^}\n]*\}\}|\{(?:content|input|text)\}"
    r"|\[(?:content|input|text|user input)\])[^\n]*(?:\n+answer[^\n]*)?\s*\Z",
    re.IGNORECASE,
)
_SPELLED = {
    "INSTRUCTION": "INSTRUCTIONS",
    "DEFINITION": "DEFINITIONS",
    "VIOLATION": "VIOLATES",
    "VIOLATIONS": "VIOLATES",
    "EXAMPLE": "EXAMPLES",
}


def adopt_policy(content: str, file: str, category: str, title: str) -> str:
    """Return a pack's policy as a file that `read_policy` reads.

    Args:
        content: The policy as it came.
        file: What to call it in messages.
        category: What it is to decide.
        title: For a policy that has none.

    Raises:
        ValueError: If a part is missing, empty or out of order; names file and line.
    """
    lines = content.replace("\r\n", "\n").lstrip("\ufeff").split("\n")
    starts = _starts(lines, file)
    above = [line for line in lines[: starts[0][0]] if not line.startswith("category: ")]
    titles = [found[1] for line in above if (found := _TITLE.fullmatch(line.strip()))]
    ends = [*(line for line, _ in starts[1:]), len(lines)]
    body = [f"category: {category}", f"# {(titles or [title])[0]}"]
    body += filter(None, [_text([line for line in above if not _TITLE.fullmatch(line.strip())])])
    for (start, part), end in zip(starts, ends, strict=True):
        text = _text(lines[start + 1 : end])
        if part == "EXAMPLES":
            text = _PLACEHOLDER.sub("", text).strip()
        if not text:
            raise ValueError(f"{file}:{start + 1}: there is nothing under {part}")
        body += [f"## {_PARTS[part]}", text]
    adopted = "\n\n".join(body) + "\n"
    try:
        parse_policy(title, adopted)
    except ValueError as error:
        raise ValueError(f"{file}:1: {error}") from error
    return adopted


def _starts(lines: Sequence[str], file: str) -> list[tuple[int, str]]:
    """Return where each part begins: the index of its heading, and its name."""
    starts: list[tuple[int, str]] = []
    for number, line in enumerate(lines):
        found = _HEADING.fullmatch(line.strip())
        if found is None or not (found[1].isupper() or _MARKED.fullmatch(line.strip())):
            continue
        said = found[1].upper()
        part = _SPELLED.get(said, said)
        if part in (known for _, known in starts):
            raise ValueError(f"{file}:{number + 1}: {part} stands here a second time")
        starts.append((number, part))
    have = [part for _, part in starts]
    wanted = list(_PARTS)
    for part in wanted:
        if part not in have:
            raise ValueError(
                f"{file}:{len(lines)}: there is no part {part}{_misspelt(part, lines)}"
            )
    for (number, part), expected in zip(starts, wanted, strict=True):
        if part != expected:
            order = ", ".join(wanted)
            raise ValueError(f"{file}:{number + 1}: {part} is out of order; it is {order}")
    return starts


def _misspelt(part: str, lines: Sequence[str]) -> str:
    """Return the line of a heading that looks like `part`, as a hint."""
    for number, line in enumerate(lines):
        bare = re.sub(r"[^A-Za-z ]", "", line).strip().upper()
        if _MARKED.fullmatch(line.strip()) and near(bare.partition(" ")[0], [part]):
            return f"; line {number + 1} looks like it"
    return ""


def _text(lines: Sequence[str]) -> str:
    """Return what stands in a part, its own headings below ours."""
    return re.sub(r"^#{1,2} ", "### ", "\n".join(lines), flags=re.MULTILINE).strip()
