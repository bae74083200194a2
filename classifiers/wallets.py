"""Check sums of the addresses that hold crypto currency."""

from __future__ import annotations

import hashlib

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def bitcoin(address: str) -> bool:
    """Bitcoin: base58 with a double SHA-256 check, or bech32 (BIP 173 and 350)."""
    if address[:3].lower() == "bc1":
        return _bech32(address)
    value = 0
    for mark in address:
        value = 58 * value + _BASE58.find(mark)
    try:
        content = value.to_bytes(25, "big")
    except OverflowError:
        return False
    double = hashlib.sha256(hashlib.sha256(content[:-4]).digest()).digest()
    return content[0] in (0, 5) and content[-4:] == double[:4]


def _bech32(address: str) -> bool:
    if address not in (address.lower(), address.upper()):
        return False
    data = [_BECH32.find(mark) for mark in address.lower()[3:]]
    check = 1
    for value in (3, 3, 0, 2, 3, *data):  # the prefix `bc`, spread out
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATORS):
            check ^= generator if top >> bit & 1 else 0
    return min(data) >= 0 and check in (1, 0x2BC830A3)


_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def ethereum(address: str) -> bool:
    """Ethereum: 20 bytes in hexadecimal, whose capitals are a check (EIP-55) if it mixes cases."""
    digits = address[2:]
    if len(digits) != 40 or len(set(digits.lower())) < 6:
        return False
    if digits in (digits.lower(), digits.upper()):
        return True
    check = keccak_256(digits.lower().encode()).hex()
    return all(
        mark.isdecimal() or mark.isupper() == (int(nibble, 16) > 7)
        for mark, nibble in zip(digits, check, strict=False)
    )


def keccak_256(message: bytes) -> bytes:
    """Return the Keccak-256 digest, which SHA-3 was derived from; `hashlib` has only the latter.

    Args:
        message: At most 135 bytes: one block of the sponge is all an address needs.

    Raises:
        ValueError: If `message` is longer.
    """
    if len(message) > 135:
        raise ValueError("the message is longer than one block")
    block = bytearray(message.ljust(136, b"\0"))
    block[len(message)] ^= 1
    block[135] ^= 128
    lanes = [int.from_bytes(block[8 * i : 8 * i + 8], "little") for i in range(17)] + [0] * 8
    constant = 1
    for _ in range(24):
        lanes = _keccak_round(lanes)
        for power in range(7):
            lanes[0] ^= (constant & 1) << ((1 << power) - 1)
            constant = constant << 1 ^ (0x171 if constant & 128 else 0)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])


def _keccak_round(lanes: list[int]) -> list[int]:
    """One round without its constant: theta, rho and pi, chi. `lanes[x + 5 * y]`, 64 bits each."""
    columns = [
        lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)
    ]
    mixed = [
        lane ^ columns[(i % 5 - 1) % 5] ^ _turned(columns[(i % 5 + 1) % 5], 1)
        for i, lane in enumerate(lanes)
    ]
    moved = list(mixed)
    x, y = 1, 0
    for step in range(24):
        moved_x, moved_y = y, (2 * x + 3 * y) % 5
        turn = (step + 1) * (step + 2) // 2 % 64
        moved[moved_x + 5 * moved_y] = _turned(mixed[x + 5 * y], turn)
        x, y = moved_x, moved_y
    return [
        moved[i] ^ (~moved[i - i % 5 + (i + 1) % 5] & moved[i - i % 5 + (i + 2) % 5])
        for i in range(25)
    ]


def _turned(lane: int, by: int) -> int:
    return (lane << by | lane >> (64 - by)) & 0xFFFFFFFFFFFFFFFF
