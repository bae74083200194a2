"""Tests of a match, such as check digits, for what an expression alone cannot tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import AddressValueError, IPv4Address

_IBAN_LENGTHS = {
    # ISO 13616 registry, release 97; a country that is not listed has no IBAN.
    **dict.fromkeys(["NO"], 15),
    **dict.fromkeys(["BE"], 16),
    **dict.fromkeys(["DK", "FI", "FK", "FO", "GL", "NL", "SD"], 18),
    **dict.fromkeys(["MK", "SI"], 19),
    **dict.fromkeys(["AT", "BA", "EE", "KZ", "LT", "LU", "MN", "XK"], 20),
    **dict.fromkeys(["CH", "CR", "HR", "LI", "LV"], 21),
    **dict.fromkeys(["BG", "BH", "DE", "GB", "GE", "IE", "ME", "RS", "VA"], 22),
    **dict.fromkeys(["AE", "GI", "IL", "IQ", "OM", "SO", "TL"], 23),
    **dict.fromkeys(["AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"], 24),
    **dict.fromkeys(["LY", "PT", "ST"], 25),
    **dict.fromkeys(["IS", "TR"], 26),
    **dict.fromkeys(["BI", "DJ", "FR", "GR", "IT", "MC", "MR", "SM"], 27),
    **dict.fromkeys(["AL", "AZ", "BY", "CY", "DO", "GT", "HU", "LB", "NI", "PL", "SV"], 28),
    **dict.fromkeys(["BR", "EG", "PS", "QA", "UA"], 29),
    **dict.fromkeys(["JO", "KW", "MU", "YE"], 30),
    **dict.fromkeys(["MT", "SC"], 31),
    **dict.fromkeys(["LC"], 32),
    **dict.fromkeys(["RU"], 33),
}


def luhn(number: str) -> bool:
    """Return whether the digits in `number` pass ISO/IEC 7812-1's check, and are not all one.

    Args:
        number: 12 to 19 digits; anything else in it is skipped.
    """
    digits = [int(character) for character in number if character in "0123456789"]
    if not 12 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = (2 * digit - 9 * (digit > 4) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def iban(number: str) -> bool:
    """Return whether `number` is an IBAN: ISO 13616's length for its country, and mod 97.

    Args:
        number: Letters and digits; spaces and hyphens are skipped.
    """
    compact = number.replace(" ", "").replace("-", "").upper()
    if _IBAN_LENGTHS.get(compact[:2]) != len(compact) or not (
        compact.isascii() and compact.isalnum()
    ):
        return False
    return int("".join(str(int(mark, 36)) for mark in compact[4:] + compact[:4])) % 97 == 1


def ssn(number: str) -> bool:
    """Return whether `number`, as `AAA-GG-SSSS`, is in a range that has been issued."""
    area, group, serial = number[:3], number[4:6], number[7:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def public_ip(address: str) -> bool:
    """Return whether an IPv4 `address` can name somebody: not private, local or reserved."""
    try:
        return IPv4Address(address).is_global
    except AddressValueError:
        return False


def phone(number: str) -> bool:
    """Return whether `number` has as many digits as E.164 and national plans allow: 8 to 15."""
    return 8 <= sum(character.isdigit() for character in number) <= 15


def random_looking(assignment: str) -> bool:
    """Return whether what is assigned in `name = value` looks like a secret, not a word or code.

    A secret mixes digits with letters; a placeholder, a type, a call or a variable rarely does.
    """
    value = re.split(r"[:=]", assignment, maxsplit=1)[1].strip(" =\t\n\"'")
    if "example" in value.lower() or "your" in value.lower() or len(set(value)) < 6:
        return False
    return any(mark.isdigit() for mark in value) and any(mark.isalpha() for mark in value)


CHECKS: Mapping[str, Callable[[str], bool]] = {
    "luhn": luhn,
    "iban": iban,
    "ssn": ssn,
    "public_ip": public_ip,
    "phone": phone,
    "random_looking": random_looking,
}
