import pytest

from classifiers.checksums import CHECKS


@pytest.mark.parametrize(
    ("check", "text"),
    [
        ("luhn", "4111 1111 1111 1111"),
        ("luhn", "378282246310005"),
        ("iban", "DE89 3704 0044 0532 0130 00"),
        ("iban", "NO93-8601-1117-947"),
        ("iban", "gb82west12345698765432"),
        ("ssn", "536-22-1234"),
        ("public_ip", "8.8.8.8"),
        ("phone", "+1 (212) 555-0187"),
        ("random_looking", "password = 'c0rrect-h0rse'"),
    ],
)
def test_a_genuine_value_passes(check, text):
    assert CHECKS[check](text)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        pytest.param("luhn", "4111 1111 1111 1112", id="wrong check digit"),
        pytest.param("luhn", "0000000000000000", id="one digit repeated"),
        pytest.param("luhn", "42", id="too short"),
        pytest.param("luhn", "\uff14" + "\uff11" * 15, id="digits of another script"),
        pytest.param("iban", "DE89 3704 0044 0532 0130 01", id="wrong check digits"),
        pytest.param("iban", "DE89 3704 0044 0532 0130", id="too short for Germany"),
        pytest.param("iban", "XX89370400440532013000", id="no such country"),
        pytest.param("iban", "", id="empty"),
        pytest.param("ssn", "000-12-3456", id="area 000"),
        pytest.param("ssn", "900-12-3456", id="area 900"),
        pytest.param("public_ip", "192.168.0.1", id="private"),
        pytest.param("public_ip", "01.02.03.04", id="leading zeros"),
        pytest.param("phone", "555-01", id="too few digits"),
        pytest.param("random_looking", "password = changeme", id="a word"),
        pytest.param("random_looking", "api_key = YOUR_KEY_123", id="a placeholder"),
    ],
)
def test_a_look_alike_fails(check, text):
    assert not CHECKS[check](text)


def test_every_single_wrong_digit_is_noticed():
    card = "4111111111111111"
    for place in range(len(card)):
        for digit in set("0123456789") - {card[place]}:
            assert not CHECKS["luhn"](card[:place] + digit + card[place + 1 :])


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("https://pypi.acme.corp/simple", True),
        ("postgresql://db.internal:5432", True),
        ("http://metadata.google.internal/", False),
        ("http://HOST.docker.internal:8080", False),
        ("ip-10-0-0-1.eu-west-1.compute.internal", False),
    ],
)
def test_a_host_that_every_installation_has_is_nobodys_own(address, own):
    assert CHECKS["own_host"](address) is own
