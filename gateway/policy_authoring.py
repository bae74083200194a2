"""What `ostiary policy lock | fmt | new` do; printing and exit statuses are the command line's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from policies.bundle import LOCK_NAME, Lock, Pin, read_lock, write_lock
from policies.document import DocumentError
from policies.format import format_policy
from policies.load import BUILTIN, PolicyError, builtin_names, read_policy
from policies.mistakes import suggestion

STARTER = BUILTIN.with_name("starter.yaml")


@dataclass(frozen=True, slots=True)
class Locking:
    """What a lock file says, and what it ought to say.

    Attributes:
        path: The lock file, beside the policy.
        text: What it ought to say.
        changes: What is different, a line each; empty if nothing is.
    """

    path: Path
    text: str
    changes: tuple[str, ...]

    def write(self) -> None:
        """Put the lock in force."""
        self.path.write_text(self.text, encoding="utf-8")


def resolve_lock(source: str) -> Locking:
    """Resolve what a policy includes to the newest versions in range.

    Args:
        source: A policy file, or a built-in policy's name.

    Returns:
        The lock beside it, with the entries of other policies as they are.

    Raises:
        PolicyError: If the policy, or the lock as it is, cannot be used.
        OSError: If the lock cannot be read.
    """
    file = read_policy(source, pinned=False)
    folder = BUILTIN if source in builtin_names() else Path(source).parent
    path = folder / LOCK_NAME
    before = _lock_at(path)
    wanted = file.bundle.lock
    kept = {name: pins for name, pins in before.items() if name != file.policy.id}
    after = {**kept, **wanted}
    return Locking(path, write_lock(after), tuple(_changes(before, after)))


def _lock_at(path: Path) -> Lock:
    if not path.is_file():
        return {}
    try:
        return read_lock(path.read_bytes())
    except DocumentError as error:
        raise PolicyError(str(path), [error.problem]) from error


def _changes(before: Lock, after: Lock) -> Iterator[str]:
    for policy in sorted({*before, *after}):
        old, new = before.get(policy, {}), after.get(policy, {})
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                yield f"{policy}: {name} {_change(old.get(name), new.get(name))}"


def _change(old: Pin | None, new: Pin | None) -> str:
    if new is None:
        return "is not included any more"
    said = f"{new.version} (sha256 {new.digest[:12]})"
    return f"{old.version} (sha256 {old.digest[:12]}) -> {said}" if old else said


@dataclass(frozen=True, slots=True)
class Layout:
    """A policy file as it is and as it ought to be.

    Attributes:
        path: The file.
        before: What it says.
        after: The same in the canonical layout.
    """

    path: Path
    before: str
    after: str

    def write(self) -> None:
        """Put the layout into the file."""
        self.path.write_text(self.after, encoding="utf-8", newline="\n")


def lay_out(source: str) -> Layout:
    """Return a policy file in its canonical layout.

    Raises:
        PolicyError: If it is not a policy file.
        OSError: If it cannot be read.
    """
    path = BUILTIN / f"{source}.yaml" if source in builtin_names() else Path(source)
    content = path.read_bytes()
    return Layout(path, content.decode("utf-8", "replace"), format_policy(content, source))


def starter(name: str, owner: str, includes: Sequence[str]) -> str:
    """Return a policy file to start from.

    Args:
        name: Its id.
        owner: Who is asked about it.
        includes: Shipped policies, by their file's name or their id.

    Raises:
        PolicyError: If that is no policy: the id may not be one.
    """
    text = STARTER.read_text(encoding="utf-8")
    text = text.replace("id: acme ", f"id: {name} ")
    text = text.replace("trust-and-safety@acme.example", owner)
    if includes:
        text = text.replace("\ndefaults:\n", f"\n{_includes(includes)}\ndefaults:\n")
    return format_policy(text.encode(), f"{name}.yaml")


def _includes(names: Sequence[str]) -> str:
    shipped = {
        spelling: policy
        for file in builtin_names()
        for policy in (read_policy(file).policy,)
        for spelling in (file, policy.id)
    }
    lines = ["# Their rules hold here too; `ostiary policy lock` says which digest is meant.\n"]
    lines.append("includes:\n")
    for name in names:
        if name not in shipped:
            hint = suggestion(name, shipped)
            raise ValueError(f"unknown policy `{name}`{hint}")
        major, minor, _ = shipped[name].version.split(".")
        lines.append(f'  - {{id: {shipped[name].id}, version: "^{major}.{minor}"}}\n')
    return "".join(lines)
