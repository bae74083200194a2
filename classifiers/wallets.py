"""Check sums of the addresses that hold crypto currency."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

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
    for constant in _CONSTANTS:
        lanes = _keccak_round(lanes)
        lanes[0] ^= constant
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])


def _keccak_round(lanes: list[int]) -> list[int]:
    """One round without its constant: theta, rho and pi, chi. `lanes[x + 5 * y]`, 64 bits each."""
    a, b, c, d, e = (
        lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)
    )
    columns = (
        e ^ (b << 1 & _LANE | b >> 63),
        a ^ (c << 1 & _LANE | c >> 63),
        b ^ (d << 1 & _LANE | d >> 63),
        c ^ (e << 1 & _LANE | e >> 63),
        d ^ (a << 1 & _LANE | a >> 63),
    )
    moved = []
    for source, column, left, right in _MOVES:
        lane = lanes[source] ^ columns[column]
        moved.append(lane << left & _LANE | lane >> right)
    turned: list[int] = []
    for row in range(0, 25, 5):
        a, b, c, d, e = moved[row : row + 5]
        turned += (a ^ ~b & c, b ^ ~c & d, c ^ ~d & e, d ^ ~e & a, e ^ ~a & b)
    return turned


def _constants() -> Iterator[int]:
    """Yield what each of the 24 rounds adds to the first lane."""
    register = 1
    for _ in range(24):
        constant = 0
        for power in range(7):
            constant |= (register & 1) << ((1 << power) - 1)
            register = register << 1 ^ (0x171 if register & 128 else 0)
        yield constant


def _moves() -> Iterator[tuple[int, int, int, int]]:
    """Yield for each lane the one that moves there, its column, and its turn left and right."""
    sources = {0: (0, 0)}
    x, y = 1, 0
    for step in range(24):
        moved_x, moved_y = y, (2 * x + 3 * y) % 5
        sources[moved_x + 5 * moved_y] = x + 5 * y, (step + 1) * (step + 2) // 2 % 64
        x, y = moved_x, moved_y
    for lane in range(25):
        source, turn = sources[lane]
        yield source, source % 5, turn, 64 - turn


_LANE = 0xFFFFFFFFFFFFFFFF
_CONSTANTS = tuple(_constants())
_MOVES = tuple(_moves())
