"""A program for `OSTIARY_VAULT_COMMAND`, with its keys in a folder.

It stands for the few lines that ask your key management service or HSM: replace the four
functions. Each key is a file; the newest name wraps.

    OSTIARY_VAULT_COMMAND='["python", "examples/vault/command.py", "/secure/keys"]'
"""

import base64
import json
import os
import secrets
import sys
import time
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

folder = Path(sys.argv[1])


def renew() -> dict[str, str]:
    """Make a key that wraps from now on."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{time.time_ns():020}"
    handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(32))
    return {"key_id": name}


def wrap(secret: str, place: list[str]) -> dict[str, str]:
    """Put a secret into a box that opens for the same place only."""
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    name = names[-1] if names else renew()["key_id"]
    nonce = secrets.token_bytes(12)
    key = AESGCM((folder / name).read_bytes())
    box = nonce + key.encrypt(nonce, base64.b64decode(secret), json.dumps(place).encode())
    return {"key_id": name, "box": base64.b64encode(box).decode()}


def unwrap(key_id: str, box: str, place: list[str]) -> dict[str, str]:
    """Return what is in a box."""
    content = base64.b64decode(box)
    key = AESGCM((folder / Path(key_id).name).read_bytes())
    secret = key.decrypt(content[:12], content[12:], json.dumps(place).encode())
    return {"secret": base64.b64encode(secret).decode()}


def retire(kept: list[str]) -> dict[str, str]:
    """Forget all keys but the newest and those that are kept."""
    newest = max(path.name for path in folder.iterdir())
    for path in folder.iterdir():
        if path.name not in {newest, *kept}:
            path.unlink()
    return {}


if __name__ == "__main__":
    question = json.load(sys.stdin)
    act = {"wrap": wrap, "unwrap": unwrap, "renew": renew, "retire": retire}[question.pop("do")]
    try:
        json.dump(act(**question), sys.stdout)
    except (InvalidTag, OSError):
        sys.exit(1)
