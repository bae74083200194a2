"""Makes the verifier one file, for who has no Ostiary and wants none.

The modules are put one after the other, without what they import from each other. Nothing
is rewritten: what an auditor reads is what runs here.
"""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

MODULES = (
    "gateway.notes",
    "gateway.audit.merkle",
    "gateway.audit.checkpoint",
    "gateway.audit.cosignature",
    "gateway.audit.mldsa",
    "gateway.audit.succession",
    "gateway.audit.projection",
    "gateway.audit.shapes",
    "gateway.audit.bundle",
    "gateway.audit.entry_check",
    "gateway.audit.signed_files",
    "gateway.audit.verify",
    "gateway.audit.verify_files",
    "gateway.audit.verify_main",
)

_HEADER = '''"""Verifies the decision log of Ostiary; needs Python 3.11 and `cryptography`.

    python {name} BUNDLE --key KEY [--since OLD] [--witness-key KEY] [--mldsa-key KEY] [--json]

Exit status: 0 intact, 1 tampered, 2 wrong usage, or nothing can be said.
Made by `ostiary audit verifier` from the modules that are named below.
"""

from __future__ import annotations
'''


def single_file(name: str = "ostiary_verify.py") -> str:
    """Return the verifier as one Python file.

    Raises:
        ValueError: If two of its modules define the same name.
    """
    pieces, owners = [_HEADER.format(name=name)], dict[str, str]()
    for module in MODULES:
        source = _source(module)
        tree = ast.parse(source)
        for defined in _defined(tree):
            if owners.setdefault(defined, module) != module:
                raise ValueError(f"`{defined}` is defined in {owners[defined]} and in {module}")
        rule = f"# {'-' * 8} {module} {'-' * (80 - len(module))}"
        pieces.append(f"{rule}\n\n{_kept(source, tree).strip()}\n")
    return "\n\n".join(pieces)


def _source(module: str) -> str:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"{module} has no source")
    return Path(spec.origin).read_text(encoding="utf-8")


def _kept(source: str, tree: ast.Module) -> str:
    """Return a module without its imports from ours, and its docstring as a comment."""
    lines = source.splitlines()
    for node in tree.body:
        if _is_ours(node):
            for at in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[at] = ""
    docstring = tree.body[0]
    end = docstring.end_lineno or docstring.lineno
    said = (ast.get_docstring(tree) or "").splitlines()
    return "\n".join([*(f"# {line}".rstrip() for line in said), *lines[end:]])


def _is_ours(node: ast.stmt) -> bool:
    if not isinstance(node, ast.ImportFrom):
        return False
    return node.module == "__future__" or (node.module or "").startswith("gateway")


def _defined(tree: ast.Module) -> list[str]:
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            targets = (name for target in node.targets for name in ast.walk(target))
            names += [name.id for name in targets if isinstance(name, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    return names
