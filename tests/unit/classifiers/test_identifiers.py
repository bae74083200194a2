import pytest

from classifiers.checksums import card, hardware_address, public_ip
from classifiers.identifiers import IDENTIFIERS
from classifiers.wallets import bitcoin, ethereum, keccak_256

# Published examples: from the authorities' own documents, or from Wikipedia.
VALID = {
    "aadhaar": ["2341 2341 2346"],
    "aba": ["021000021", "011401533"],
    "abn": ["51 824 753 556"],
    "belgian_number": ["85.07.30-033.28"],
    "bsn": ["111222333"],
    "canadian_sin": ["130 692 544"],
    "chinese_id": ["11010519491231002X"],
    "cnpj": ["11.222.333/0001-81"],
    "codice_fiscale": ["RSSMRA85T10A562S", "rssmra85t10a562s"],
    "cpf": ["529.982.247-25"],
    "curp": ["HEGG560427MVZRRL04"],
    "fodselsnummer": ["01019000083"],
    "french_nir": ["2 55 08 14 168 025 38", "185052A12345633"],
    "german_tax_id": ["86095742719", "47036892816"],
    "hetu": ["131052-308T"],
    "korean_rrn": ["900101-1234568"],
    "medicare": ["2123 45670 1"],
    "nhs": ["943 476 5919", "401 023 2137"],
    "nric": ["S1234567D", "T1234567J", "F1234567N", "G1234567X", "M1234567K"],
    "personnummer": ["811218-9876", "19811218-9876"],
    "pesel": ["44051401359"],
    "south_african_id": ["8001015009087"],
    "spanish_id": ["12345678Z", "X1234567L"],
    "swiss_ahv": ["756.9217.0769.85"],
    "tckn": ["10000000146"],
    "tfn": ["123 456 782"],
}
# Where the last character is no check digit.
OTHER = {
    "itin": (["912-70-1234"], ["912-49-1234", "912-89-1234", "912-93-1234"]),
    "passport_zone": (
        ["L898902C36UTO7408122F1204159ZE184226B<<<<<10"],
        ["L898902C37UTO7408122F1204159ZE184226B<<<<<10", "L898902C36"],
    ),
    "enough_digits": (["D1234567"], ["control", "1234"]),
}


@pytest.mark.parametrize(
    ("name", "number"), [(name, each) for name in VALID for each in VALID[name]]
)
def test_a_published_number_is_valid_and_one_with_another_check_is_not(name, number):
    check = IDENTIFIERS[name]
    place = len(number) - 1 if name != "medicare" else number.index("0 ")
    others = [mark for mark in "0123456789ABCXYZ" if mark.isdigit() == number[place].isdigit()]
    changed = [number[:place] + mark + number[place + 1 :] for mark in others]

    assert check(number)
    assert not any(check(each) for each in changed if each != number)


@pytest.mark.parametrize("name", sorted(VALID))
def test_a_number_of_another_length_is_not_valid(name):
    (number, *_) = VALID[name]

    assert not IDENTIFIERS[name](number[:-1])
    assert not IDENTIFIERS[name]("")
    assert name == "medicare" or not IDENTIFIERS[name](f"1{number}") or name == "personnummer"


@pytest.mark.parametrize("name", ["bsn", "cpf", "cnpj", "nhs", "tfn", "canadian_sin"])
def test_one_digit_repeated_is_nobodys_number(name):
    length = {"cpf": 11, "cnpj": 14, "nhs": 10}.get(name, 9)

    assert not any(IDENTIFIERS[name](digit * length) for digit in "0123456789")


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("personnummer", "813218-9876"),
        ("hetu", "991052-308T"),
        ("pesel", "44059901359"),
        ("korean_rrn", "901301-1234568"),
        ("south_african_id", "8013015009087"),
        ("chinese_id", "11010519491331002X"),
    ],
)
def test_a_number_with_an_impossible_date_is_not_valid(name, number):
    assert not IDENTIFIERS[name](number)


@pytest.mark.parametrize("name", sorted(OTHER))
def test_ranges_and_fields_are_checked(name):
    valid, invalid = OTHER[name]

    assert all(IDENTIFIERS[name](number) for number in valid)
    assert not any(IDENTIFIERS[name](number) for number in invalid)


def test_every_check_has_an_example():
    assert set(VALID) | set(OTHER) == set(IDENTIFIERS)


@pytest.mark.parametrize(
    "address",
    [
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
    ],
)
def test_a_bitcoin_address_is_checked(address):
    assert bitcoin(address)
    assert not bitcoin(address[:-1] + ("q" if address[-1] != "q" else "p"))
    assert not bitcoin(address[:-5])


def test_a_bech32_address_does_not_mix_cases():
    assert not bitcoin("bc1Qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")


def test_an_ethereum_address_is_checked_by_its_capitals():
    assert ethereum("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")
    assert ethereum("0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed")
    assert not ethereum("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD")
    assert not ethereum("0x" + "0" * 40)


def test_keccak_is_not_sha_3():
    empty = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"

    assert keccak_256(b"").hex() == empty
    with pytest.raises(ValueError, match="one block"):
        keccak_256(b"x" * 136)


@pytest.mark.parametrize(
    ("number", "valid"),
    [
        ("4111 1111 1111 1111", True),
        ("2223003122003222", True),
        ("180016070420458", True),
        ("630427373398", True),
        ("1700000000003", False),  # Luhn, but nobody's range: a time stamp
        ("4111 1111 1111 1112", False),
    ],
)
def test_a_card_is_in_the_range_of_a_brand(number, valid):
    assert card(number) == valid


def test_an_address_that_names_nobody_is_not_personal():
    assert public_ip("2a00:1450:4001:830::200e")
    assert not public_ip("fe80::1")
    assert not public_ip("a::b")
    assert not public_ip("12:30:45")
    assert hardware_address("00:1B:44:11:3A:B7")
    assert not hardware_address("ff:ff:ff:ff:ff:ff")
