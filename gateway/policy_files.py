"""Policies and attachments on disk: what `OSTIARY_POLICY` names, and the last good copy.

A name of a policy that we ship, a file, or a directory whose `.yaml` files are all taken.
What came into force is kept in `<home>/policies/last-good.json`, so that a gateway that is
started again over a broken file serves under the last good one rather than not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import orjson
import structlog

from gateway.store.keyfile import replace
from policies.attachments import AttachmentsFile, parse_attachments
from policies.bundle import LOCK_NAME, BundleError, Lock, SourceFile, decode_bundle
from policies.document import DocumentError, Problem, read_section
from policies.load import PolicyError, PolicyFile, parse_bundle, parse_files, read_policy

Loaded: TypeAlias = PolicyFile | AttachmentsFile
Stamp: TypeAlias = tuple[tuple[str, int, int], ...]  # what changes when a file changes

_FORMAT = 1
_log = structlog.get_logger("ostiary.policy")


def read_files(name: str) -> tuple[Loaded, ...]:
    """Load what `name` stands for.

    Args:
        name: A policy file, an attachments file, a directory of them, or the name of a
            policy that we ship.

    Raises:
        PolicyError: For the first file that cannot be used, or an empty directory.
    """
    folder = Path(name)
    if not folder.is_dir():
        return (_read(name),)
    found = tuple(_read(str(path)) for path in _files_in(folder))
    if not any(isinstance(each, PolicyFile) for each in found):
        raise PolicyError(name, [Problem(1, 1, "the directory holds no policy")])
    return found


def decode(content: bytes) -> Loaded:
    """Return the policy or the attachments that a bundle holds, and nothing around it.

    Raises:
        PolicyError: If they cannot be used.
        BundleError: If it is no bundle.
    """
    main = decode_bundle(content).main
    if _kind(main.content) == "Attachments":
        return parse_attachments(main.content, main.name)
    return parse_bundle(content)


def received(main: SourceFile, others: Iterable[SourceFile], lock: Lock) -> Loaded:
    """Return the policy or the attachments in files that somebody sent.

    Args:
        main: Their own file.
        others: What it includes; what we ship need not be among them.
        lock: Which digests are meant.

    Raises:
        PolicyError: If they cannot be used.
    """
    if _kind(main.content) == "Attachments":
        return parse_attachments(main.content, main.name)
    return parse_files(main, others, lock)


def stamp(name: str, loaded: Iterable[Loaded]) -> Stamp:
    """Return what changes when anything changes that `name` was loaded from.

    Args:
        name: As in `read_files`.
        loaded: What was loaded the last time; what that includes is looked at too.
    """
    folder = Path(name)
    paths = {*_files_in(folder), folder / LOCK_NAME} if folder.is_dir() else {folder}
    for file in loaded:
        others = [Path(other.name) for other in file.bundle.others]
        paths |= {*others, Path(file.name).parent / LOCK_NAME} if others else set()
    return tuple(sorted(_stamp(path) for path in paths))


class LastGood:
    """The last good copy of what was loaded from files.

    Args:
        home: `OSTIARY_HOME`.
        name: As in `read_files`; a copy of something else is not used.
    """

    def __init__(self, home: Path, name: str):
        self._path = home / "policies" / "last-good.json"
        self._name = name

    def keep(self, loaded: Sequence[Loaded]) -> None:
        """Keep a copy; the one before stays until the new one is whole and on the disk."""
        stored = {
            "format": _FORMAT,
            "source": self._name,
            "bundles": [each.bundle.encoded().decode() for each in loaded],
        }
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace(self._path, orjson.dumps(stored))

    def read(self) -> tuple[Loaded, ...]:
        """Return what was kept; nothing if there is no copy that can be used."""
        try:
            stored = orjson.loads(self._path.read_bytes())
            if stored["format"] != _FORMAT or stored["source"] != self._name:
                return ()
            return tuple(decode(bundle.encode()) for bundle in stored["bundles"])
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, KeyError, TypeError, BundleError, PolicyError) as error:
            _log.warning("last_good_policy_unusable", error=type(error).__name__)
            return ()


def _read(name: str) -> Loaded:
    path = Path(name)
    if path.is_file() and _kind(content := path.read_bytes()) == "Attachments":
        return parse_attachments(content, name)
    return read_policy(name)


def _kind(content: bytes) -> object:
    try:
        return read_section(content, "kind")
    except DocumentError:  # whoever reads it in full says what is wrong
        return None


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.y*ml") if path.is_file())


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, -1
    return str(path), status.st_mtime_ns, status.st_size
