"""Check digits of the numbers that states and banks give to people.

Each function takes the text of a candidate, separators included, and says whether it can
be such a number: its length, its dates and its check digits. None says that it was issued.
Where one digit in ten passes by chance, the pattern that calls it asks for context too.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Mapping, Sequence


def _digits(number: str) -> list[int]:
    return [int(character) for character in number if character in "0123456789"]


def _compact(number: str) -> str:
    return re.sub(r"[^0-9A-Za-z]", "", number).upper()


def _weighted(digits: Sequence[int], weights: Sequence[int]) -> int:
    return sum(digit * weight for digit, weight in zip(digits, weights, strict=True))


def _luhn(digits: Sequence[int]) -> bool:
    doubled = (2 * digit - 9 * (digit > 4) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 and len(set(digits)) > 1


def _a_date(month: int, day: int, year: int = 2000) -> bool:
    return 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]


# ------------------------------------------------------------------------- Asia


def aadhaar(number: str) -> bool:
    """India: 12 digits, Verhoeff's check over the dihedral group of order ten."""
    digits = _digits(number)
    if len(digits) != 12 or digits[0] < 2:
        return False
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = _DIHEDRAL[check][_PERMUTED[place % 8][digit]]
    return check == 0


_DIHEDRAL = [
    [(a + b) % 5 + 5 * (b > 4) if a < 5 else (a - b) % 5 + 5 * (b < 5) for b in range(10)]
    for a in range(10)
]
_PERMUTED = [list(range(10))]
for _ in range(7):
    _PERMUTED.append([_PERMUTED[-1][digit] for digit in (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)])


def chinese_id(number: str) -> bool:
    """China, GB 11643: 17 digits with a date of birth, and a check by ISO 7064 mod 11-2."""
    compact = _compact(number)
    digits = _digits(compact[:17])
    if len(compact) != 18 or len(digits) != 17:
        return False
    year, month, day = int(compact[6:10]), int(compact[10:12]), int(compact[12:14])
    weights = [2**place % 11 for place in range(17, 0, -1)]
    expected = "10X98765432"[_weighted(digits, weights) % 11]
    return 1900 <= year <= 2100 and _a_date(month, day, year) and compact[17] == expected


def korean_rrn(number: str) -> bool:
    """South Korea: a date of birth, a century and sex, and one check digit."""
    digits = _digits(number)
    if len(digits) != 13 or not _a_date(10 * digits[2] + digits[3], 10 * digits[4] + digits[5]):
        return False
    total = _weighted(digits[:12], (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5))
    return (11 - total % 11) % 10 == digits[12]


def nric(number: str) -> bool:
    """Singapore: a letter for the series, seven digits and a check letter."""
    compact = _compact(number)
    if not re.fullmatch(r"[STFGM]\d{7}[A-Z]", compact):
        return False
    total = _weighted(_digits(compact[1:8]), (2, 7, 6, 5, 4, 3, 2))
    total += {"T": 4, "G": 4, "M": 3}.get(compact[0], 0)
    letters = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "M": "XWUTRQPNJLK"}
    return letters.get(compact[0], "XWUTRQPNMLK")[total % 11] == compact[8]


# ------------------------------------------------------------------------- Europe


def nhs(number: str) -> bool:
    """United Kingdom, health: ten digits, modulo 11."""
    digits = _digits(number)
    if len(digits) != 10 or len(set(digits)) == 1:
        return False
    check = 11 - _weighted(digits[:9], range(10, 1, -1)) % 11
    return check != 10 and check % 11 == digits[9]


def german_tax_id(number: str) -> bool:
    """Germany, Steuer-IdNr: eleven digits, one of them repeated, ISO 7064 mod 11,10."""
    digits = _digits(number)
    if len(digits) != 11 or digits[0] == 0 or len(set(digits[:10])) not in (8, 9):
        return False
    return _mod_11_10(digits)


def _mod_11_10(digits: Sequence[int]) -> bool:
    product = 10
    for digit in digits[:-1]:
        product = 2 * ((product + digit) % 10 or 10) % 11
    return (11 - product) % 10 == digits[-1]


def french_nir(number: str) -> bool:
    """France, sécurité sociale: 13 characters (Corsica writes 2A or 2B) and a key modulo 97."""
    compact = _compact(number)
    department = {"2A": "19", "2B": "18"}.get(compact[5:7], compact[5:7])
    compact = compact[:5] + department + compact[7:]
    if len(compact) != 15 or not compact.isdecimal():
        return False
    return 97 - int(compact[:13]) % 97 == int(compact[13:])


def spanish_id(number: str) -> bool:
    """Spain, DNI and NIE: a letter that is the number modulo 23."""
    compact = _compact(number)
    if not re.fullmatch(r"[XYZ]?\d{7,8}[A-Z]", compact) or len(compact) != 9:
        return False
    value = compact[:-1].translate(str.maketrans("XYZ", "012"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(value) % 23] == compact[-1]


def codice_fiscale(number: str) -> bool:
    """Italy: 16 characters, the last a check on the others."""
    compact = _compact(number)
    if len(compact) != 16 or not compact.isascii():
        return False
    odd = [
        1,
        0,
        5,
        7,
        9,
        13,
        15,
        17,
        19,
        21,
        2,
        4,
        18,
        20,
        11,
        3,
        6,
        8,
        12,
        14,
        16,
        10,
        22,
        25,
        24,
        23,
    ]
    values = [int(mark) if mark.isdecimal() else ord(mark) - ord("A") for mark in compact]
    total = sum(odd[value] if place % 2 == 0 else value for place, value in enumerate(values[:15]))
    return total % 26 == values[15] and compact[15].isalpha()


def swiss_ahv(number: str) -> bool:
    """Switzerland: 13 digits from 756, checked as EAN-13."""
    digits = _digits(number)
    return len(digits) == 13 and _weighted(digits, (1, 3) * 6 + (1,)) % 10 == 0


def pesel(number: str) -> bool:
    """Poland: a date of birth whose month tells the century, and one check digit."""
    digits = _digits(number)
    if len(digits) != 11:
        return False
    month, day = (10 * digits[2] + digits[3]) % 20, 10 * digits[4] + digits[5]
    return _a_date(month, day) and _weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def personnummer(number: str) -> bool:
    """Sweden: a date of birth (a coordination number adds 60 to the day) and Luhn's check."""
    digits = _digits(number)[-10:]
    if len(digits) != 10:
        return False
    day = 10 * digits[4] + digits[5]
    return _a_date(10 * digits[2] + digits[3], day - 60 * (day > 60)) and _luhn(digits)


def hetu(number: str) -> bool:
    """Finland: a date of birth, a sign for the century, and a check modulo 31."""
    compact = number.upper()
    if len(compact) != 11 or not (compact[:6] + compact[7:10]).isdecimal():
        return False
    expected = "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(compact[:6] + compact[7:10]) % 31]
    return _a_date(int(compact[2:4]), int(compact[:2])) and compact[10] == expected


def fodselsnummer(number: str) -> bool:
    """Norway: a date of birth (a D number adds 40 to the day) and two check digits."""
    digits = _digits(number)
    if len(digits) != 11:
        return False
    day = 10 * digits[0] + digits[1]
    return (
        _a_date(10 * digits[2] + digits[3], day - 40 * (day > 40))
        and _weighted(digits[:10], (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)) % 11 == 0
        and _weighted(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0
    )


def bsn(number: str) -> bool:
    """Netherlands: nine digits, the eleven test."""
    digits = _digits(number)
    if len(digits) != 9 or len(set(digits)) == 1:
        return False
    return _weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def belgian_number(number: str) -> bool:
    """Belgium: a date of birth, a serial, and a check modulo 97 that tells the century."""
    digits = "".join(map(str, _digits(number)))
    if len(digits) != 11:
        return False
    check = int(digits[9:])
    return check in (97 - int(digits[:9]) % 97, 97 - int("2" + digits[:9]) % 97)


def tckn(number: str) -> bool:
    """Turkey: eleven digits, the last two of them checks."""
    digits = _digits(number)
    if len(digits) != 11 or digits[0] == 0:
        return False
    tenth = (7 * sum(digits[0:9:2]) - sum(digits[1:8:2])) % 10
    return digits[9] == tenth and digits[10] == sum(digits[:10]) % 10


# ------------------------------------------------------------------- the Americas, Africa


def cpf(number: str) -> bool:
    """Brazil, people: nine digits and two checks."""
    digits = _digits(number)
    if len(digits) != 11 or len(set(digits)) == 1:
        return False
    first = _weighted(digits[:9], range(10, 1, -1)) * 10 % 11 % 10
    second = _weighted(digits[:10], range(11, 1, -1)) * 10 % 11 % 10
    return digits[9:] == [first, second]


def cnpj(number: str) -> bool:
    """Brazil, companies: twelve digits and two checks."""
    digits = _digits(number)
    if len(digits) != 14 or len(set(digits)) == 1:
        return False
    weights = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    checks = [-_weighted(digits[: 12 + n], weights[1 - n :]) % 11 % 10 for n in (0, 1)]
    return digits[12:] == checks


def canadian_sin(number: str) -> bool:
    """Canada: nine digits, Luhn's check."""
    digits = _digits(number)
    return len(digits) == 9 and digits[0] not in (0, 8) and _luhn(digits)


def curp(number: str) -> bool:
    """Mexico: letters of the name, a date of birth, and a check digit."""
    compact = _compact(number)
    if len(compact) != 18 or not compact[17].isdecimal() or not compact[4:10].isdecimal():
        return False
    marks = "0123456789ABCDEFGHIJKLMN\u00d1OPQRSTUVWXYZ"
    total = sum(marks.index(mark) * (18 - place) for place, mark in enumerate(compact[:17]))
    return _a_date(int(compact[6:8]), int(compact[8:10])) and -total % 10 == int(compact[17])


def south_african_id(number: str) -> bool:
    """South Africa: a date of birth and Luhn's check."""
    digits = _digits(number)
    if len(digits) != 13:
        return False
    return _a_date(10 * digits[2] + digits[3], 10 * digits[4] + digits[5]) and _luhn(digits)


def itin(number: str) -> bool:
    """United States, taxpayers without a social security number: 9xx, and groups 50 to 99."""
    group = int(_compact(number)[3:5])
    return 50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99


def aba(number: str) -> bool:
    """United States, routing number of a bank: nine digits, weights 3, 7 and 1."""
    digits = _digits(number)
    prefixes = (*range(1, 13), *range(21, 33), *range(61, 73), 80)
    if len(digits) != 9 or 10 * digits[0] + digits[1] not in prefixes:
        return False
    return _weighted(digits, (3, 7, 1) * 3) % 10 == 0


# ------------------------------------------------------------------------- Australia


def tfn(number: str) -> bool:
    """Australia, tax file number: nine digits, modulo 11."""
    digits = _digits(number)
    if len(digits) != 9 or len(set(digits)) == 1:
        return False
    return _weighted(digits, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def abn(number: str) -> bool:
    """Australia, business number: eleven digits, modulo 89."""
    digits = _digits(number)
    if len(digits) != 11 or digits[0] == 0:
        return False
    return _weighted(digits, (10, *range(1, 20, 2))) % 89 == 10


def medicare(number: str) -> bool:
    """Australia, health: eight digits and a check, then the issue and the place on the card."""
    digits = _digits(number)
    if len(digits) not in (10, 11) or not 2 <= digits[0] <= 6:
        return False
    return _weighted(digits[:8], (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == digits[8]


# ------------------------------------------------------------------------- everywhere


def passport_zone(zone: str) -> bool:
    """Machine-readable zone of a passport, ICAO 9303 part 4: its number and dates check out."""
    line = re.split(r"\s+", zone.strip())[-1].upper()
    if len(line) != 44:
        return False
    fields = ((line[:9], line[9]), (line[13:19], line[19]), (line[21:27], line[27]))
    return all(str(_zone_check(field)) == check for field, check in fields)


def _zone_check(field: str) -> int:
    values = [0 if mark == "<" else int(mark, 36) for mark in field]
    return sum(value * (7, 3, 1)[place % 3] for place, value in enumerate(values)) % 10


def enough_digits(number: str) -> bool:
    """At least five digits: a licence or passport number rather than the next word."""
    return len(_digits(number)) >= 5


IDENTIFIERS: Mapping[str, Callable[[str], bool]] = {
    check.__name__: check
    for check in (
        *(aadhaar, chinese_id, korean_rrn, nric, nhs, german_tax_id, french_nir, spanish_id),
        *(codice_fiscale, swiss_ahv, pesel, personnummer, hetu, fodselsnummer, bsn),
        *(belgian_number, tckn, cpf, cnpj, canadian_sin, curp, south_african_id, itin, aba),
        *(tfn, abn, medicare, passport_zone, enough_digits),
    )
}
