"""Tests of a match, such as check digits, for what an expression alone cannot tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from classifiers.identifiers import IDENTIFIERS
from classifiers.wallets import bitcoin, ethereum

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
    """Return whether `number`, as `AAA-GG-SSSS`, is in a range that has been issued.

    The separators may be others, or none.
    """
    digits = "".join(character for character in number if character.isdecimal())
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def public_ip(address: str) -> bool:
    """Return whether an `address` can name somebody: not private, local or reserved.

    IPv4 or IPv6; a version number with four parts is an address all the same.
    """
    try:
        if ":" not in address:
            return IPv4Address(address).is_global
        # Written short, it could be anything (`a::b`): then only in the range that is in use.
        short = "::" in address
        return IPv6Address(address).is_global and (not short or address[0] in "23")
    except AddressValueError:
        return False


def phone(number: str) -> bool:
    """Return whether `number` has as many digits as E.164 and national plans allow: 8 to 15.

    A date, such as `2021-03-15 12`, has as many, and is none.
    """
    if re.match(r"(?:19|20)\d\d-\d\d-\d\d\b", number):
        return False
    return 8 <= sum(character.isdigit() for character in number) <= 15


def card(number: str) -> bool:
    """Return whether `number` passes Luhn's check and starts and ends as a card of some brand.

    Args:
        number: 12 to 19 digits, with spaces or hyphens.
    """
    digits = "".join(character for character in number if character.isdecimal())
    return luhn(digits) and any(
        len(digits) in lengths and low <= digits[: len(low)] <= high
        for low, high, lengths in _CARD_RANGES
    )


# ISO/IEC 7812 issuer ranges that the brands publish: from, to, lengths.
_CARD_RANGES = (
    ("4", "4", (13, 16, 19)),  # Visa
    *(("51", "55", (16,)), ("2221", "2720", (16,))),  # Mastercard
    *(("34", "34", (15,)), ("37", "37", (15,))),  # American Express
    *(("300", "305", (14,)), ("36", "36", (14,)), ("38", "39", (14, 16))),  # Diners Club
    *(("6011", "6011", (16, 19)), ("644", "659", (16, 19))),  # Discover
    *(("3528", "3589", (16, 19)), ("2131", "2131", (15,)), ("1800", "1800", (15,))),  # JCB
    ("62", "62", tuple(range(16, 20))),  # UnionPay
    *(("50", "50", tuple(range(12, 20))), ("56", "69", tuple(range(12, 20)))),  # Maestro
    *(("2200", "2204", (16,)), ("9792", "9792", (16,))),  # Mir, Troy
)


def hardware_address(address: str) -> bool:
    """Return whether a MAC `address` belongs to a device: neither a group nor nobody."""
    return not int(address[:2], 16) & 1 and len(set(address)) > 4


def random_looking(assignment: str) -> bool:
    """Return whether what is assigned in `name = value` looks like a secret, not a word or code."""
    return secret_value(re.split(r"[:=]", assignment, maxsplit=1)[-1].strip(" =\t\n\"'"))


def secret_value(value: str) -> bool:
    """Return whether `value` looks like a secret.

    A secret mixes digits with letters; a placeholder, a type, a call or a variable rarely does.
    """
    if "example" in value.lower() or "your" in value.lower() or len(set(value)) < 6:
        return False
    return any(mark.isdigit() for mark in value) and any(mark.isalpha() for mark in value)


def no_placeholder(value: str) -> bool:
    """Return whether a password in an address is one: not `password`, `xxxx` or `****`."""
    known = {
        "password",
        "passwd",
        "pass",
        "secret",
        "changeme",
        "user",
        "username",
        "token",
        "port",
    }
    return value.lower().strip("[](){}<>$%_-") not in known and len(set(value)) > 3


def mailbox(address: str) -> bool:
    """Return whether somebody may read what is sent to `address`: not `git@github.com`."""
    return not address.lower().startswith("git@")


def said_address(said: str) -> bool:
    """Return whether `ada at example dot com` is an address, not `look at the dot com boom`."""
    _, _, domain = " ".join(re.findall(r"[a-z0-9]+", said.lower())).partition(" at ")
    return bool(domain) and domain.split()[0] not in {
        "the",
        "a",
        "an",
        "this",
        "that",
        "every",
        "any",
        "our",
        "its",
        "my",
    }


def own_host(address: str) -> bool:
    """Return whether an internal host is somebody's own, not one that every installation has."""
    everywhere = r"\b(?:google|goog|docker|containers|compute|cluster)\.(?:internal|local)\b"
    return re.search(everywhere, address.lower()) is None


CHECKS: Mapping[str, Callable[[str], bool]] = {
    "luhn": luhn,
    "iban": iban,
    "ssn": ssn,
    "public_ip": public_ip,
    "phone": phone,
    "random_looking": random_looking,
    "secret_value": secret_value,
    "no_placeholder": no_placeholder,
    "card": card,
    "hardware_address": hardware_address,
    "mailbox": mailbox,
    "said_address": said_address,
    "own_host": own_host,
    "bitcoin": bitcoin,
    "ethereum": ethereum,
    **IDENTIFIERS,
}

# Takes a hundred times as long as the others: a classifier does only so many of them.
DEAR = frozenset({"ethereum"})
