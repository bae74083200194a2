"""Written policies: what gpt-oss-safeguard reads and judges by.

A file is Markdown. Its first line says which category it decides, `category: hate`; then
come a title and the sections INSTRUCTIONS, DEFINITIONS, VIOLATES (1), SAFE (0) and
EXAMPLES, as the model was trained to read them. 400 to 600 tokens serve it best.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from classifiers.judges.categories import check_category, near

FOLDER = Path(__file__).with_name("policies")
SECTIONS = ("INSTRUCTIONS", "DEFINITIONS", "VIOLATES (1)", "SAFE (0)", "EXAMPLES")

_HEAD = re.compile(r"category: (\S+)\n\n(# \S.*)", re.DOTALL)
_SECTION = re.compile(r"^## (.+?)\s*$", re.MULTILINE)
_MAX_BYTES = 64 * 1024  # about 16,000 tokens; the model reads some 10,000 well


@dataclass(frozen=True, slots=True)
class WrittenPolicy:
    """One policy for one category.

    Attributes:
        name: The file's name without its ending.
        category: What it decides.
        text: What the model reads, from the title on.
    """

    name: str
    category: str
    text: str


def builtin_names() -> list[str]:
    """Return the names of the policies that come with Ostiary."""
    return sorted(path.stem for path in FOLDER.glob("*.md"))


def read_policy(name: str, beside: Path) -> WrittenPolicy:
    """Read a policy.

    Args:
        name: One that comes with Ostiary, or a path that ends in `.md`.
        beside: The folder that a relative path starts from.

    Raises:
        ValueError: If there is none, or it is not of the right form; names the file.
    """
    builtin = not name.endswith(".md")
    path = FOLDER / f"{name}.md" if builtin else beside / name
    if builtin and name not in builtin_names():
        raise ValueError(f"unknown policy `{name[:80]}`{near(name, builtin_names())}")
    try:
        content = path.read_bytes()[: _MAX_BYTES + 1]
        return parse_policy(path.stem, content.decode())
    except OSError as error:
        raise ValueError(f"cannot read the policy `{name[:80]}`: {error.strerror}") from error
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"{path.name}: {error}") from error


def parse_policy(name: str, content: str) -> WrittenPolicy:
    """Return the policy that a file's content is. Raises `ValueError`, without its name."""
    if len(content) > _MAX_BYTES:
        raise ValueError(f"a policy is at most {_MAX_BYTES} bytes long")
    head = _HEAD.fullmatch(content.replace("\r\n", "\n"))
    if head is None:
        raise ValueError("it must begin with `category: ...`, an empty line and a `# title`")
    sections = tuple(_SECTION.findall(head[2]))
    if sections != SECTIONS:
        expected = ", ".join(f"`## {section}`" for section in SECTIONS)
        raise ValueError(f"its sections must be {expected}, in this order")
    return WrittenPolicy(name, check_category(head[1]), head[2].strip())
