"""Put the bundled vocabulary on disk, where openai-harmony reads it.

openai-harmony downloads `o200k_base.tiktoken` on first use unless the directory named by
`TIKTOKEN_ENCODINGS_BASE` holds it. We bundle it (xz, 1.1 MB) and unpack it (3.6 MB) once.
An unpacked copy that does not have the pinned digest, because it was cut short or tampered
with, is replaced; a bundled copy that does not have it is an error, never used.
"""

from __future__ import annotations

import lzma
import os
import tempfile
from hashlib import sha256
from pathlib import Path

FILE_NAME = "o200k_base.tiktoken"  # what openai-harmony looks for
SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"  # unpacked

_BUNDLED = Path(__file__).parent / "o200k_base.tiktoken.xz"


def unpack_vocabulary(directory: Path) -> Path:
    """Make sure `directory` holds the vocabulary, intact.

    Args:
        directory: Created if missing. Several processes may unpack into it at once.

    Returns:
        The file's path.

    Raises:
        OSError: If the directory cannot be written.
        ValueError: If the bundled vocabulary does not have the pinned digest.
    """
    target = directory / FILE_NAME
    if not _is_intact(target):
        _write_whole(target, _unpacked())
    return target


def _is_intact(path: Path) -> bool:
    try:
        return sha256(path.read_bytes()).hexdigest() == SHA256
    except OSError:
        return False


def _unpacked() -> bytes:
    vocabulary = lzma.decompress(_BUNDLED.read_bytes())
    if sha256(vocabulary).hexdigest() != SHA256:
        raise ValueError("the bundled vocabulary does not have the pinned digest")
    return vocabulary


def _write_whole(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as part:
            part.write(content)
        os.replace(name, target)  # the commit point: readers see the old file or all of the new
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
