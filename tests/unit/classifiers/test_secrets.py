import asyncio
import base64
import hashlib
import random
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.secrets import CATEGORY, LIMIT, MAX_SPANS, OVERLAP, STRETCH, Secrets
from classifiers.types import Passage, Source

SECRETS = Secrets()
DRAWN = random.Random(7)  # noqa: S311 - reproducible, not secret
HEX, LOWER, UPPER = "0123456789abcdef", string.ascii_lowercase, string.ascii_uppercase
LETTERS = string.ascii_letters + string.digits


def drawn(length, alphabet=LETTERS):
    """Return a made-up token; the first characters see to it that it looks like one."""
    return "a7F2"[: 4 if alphabet == LETTERS else 0] + "".join(
        DRAWN.choice(alphabet) for _ in range(length - (4 if alphabet == LETTERS else 0))
    )


# Put together here, so that nothing in this file looks like a leak to a scanner.
TOKENS = {
    "artifactory": ("", "AK" + "C" + drawn(60), ""),
    "aws": ("", "AK" + "IA" + drawn(16, UPPER + string.digits), ""),
    "aws secret": ("aws_secret_key = '", drawn(40), "'"),
    "azure": ("", "Account" + "Key=" + drawn(86) + "==", ""),
    "address": ("https://bob:", "hunter" + "2x9", "@host.example/"),
    "cloudant": ("cloudant_password = '", drawn(64, HEX), "'"),
    "discord": ("", "M" + drawn(23) + "." + drawn(6) + "." + drawn(27), ""),
    "github": ("", "gh" + "p_" + drawn(36), ""),
    "gitlab": ("", "gl" + "pat-" + drawn(20), ""),
    "ibm": ("ibm_cloud_api_key = '", drawn(44), "'"),
    "ibm storage": ("cos_hmac_secret_access_key = '", drawn(48, HEX), "'"),
    "mailchimp": ("", drawn(31, LOWER) + "7-us" + "12", ""),
    "npm": ("//registry.npmjs.org/:_authToken=", "12345678-90ab-cdef-1234-567890abcdef", ""),
    "openai": ("", "sk-" + drawn(20) + "T3Blbk" + "FJ" + drawn(20), ""),
    "pypi": ("", "pypi-" + "AgEIcHlwaS5vcmc" + drawn(80), ""),
    "sendgrid": ("", "SG" + "." + drawn(22) + "." + drawn(43), ""),
    "slack": ("", "xox" + "b-" + drawn(12, string.digits) + "-" + drawn(24), ""),
    "softlayer": ("softlayer_api_key = '", drawn(64, HEX), "'"),
    "square": ("", "sq0" + "csp-" + drawn(43), ""),
    "stripe": ("", "sk_" + "live_" + drawn(24), ""),
    "telegram": ("", "110201543:" + "AA" + drawn(33), ""),
    "twilio": ("", "AC" + drawn(31, LOWER) + "7", ""),
    "assigned": ("session_token: ", drawn(32), ""),
    "assigned in json": ('{"apiKey": "', drawn(40, HEX), '"}'),
}


def judged(text, before=""):
    (verdicts,) = asyncio.run(SECRETS.classify([Passage(Source.USER, text, before)]))
    return verdicts


def marked(text, before=""):
    whole = before + text
    return {
        whole[span.start + len(before) : span.end + len(before)]
        for verdict in judged(text, before)
        for span in verdict.spans
    }


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_is_found_exactly_where_it_is(name):
    head, token, tail = TOKENS[name]

    found = marked(f"Use this: {head}{token}{tail} and no other, it works.")

    assert token in found
    assert all(each in token for each in found)


@pytest.mark.parametrize(
    "text",
    [
        "AKIA" + "IOSFODNN7EXAMPLE",
        "gh" + "p_" + "x" * 36,
        "sk_live_" + "your_key_goes_here_1234",
        "https://user:password@host.example/",
        "https://user:xxxx@host.example/",
        'api_key = "YOUR_API_KEY_1234567890"',
        "password: <your-password-here-123>",
        "SG." + "." * 60,
        "token = 'xxxxxxxxxxxxxxxxxxxxxxxx1'",
        'key = "00000000-0000-0000-0000-000000000000"',
    ],
)
def test_a_placeholder_is_no_secret(text):
    assert judged(text) == []


NOISE = DRAWN.randbytes(48_000)
DIGEST = hashlib.sha256(b"lock").hexdigest()
INTEGRITY = base64.b64encode(hashlib.sha512(b"lock").digest()).decode()
HARMLESS = {
    "prose": "The key to success is persistence. Auth tokens expire; secrets do not keep. " * 40,
    "image": "data:image/png;base64," + base64.b64encode(NOISE).decode(),
    "mail attachment": base64.encodebytes(NOISE).decode(),
    "commit": f"commit {DIGEST[:40]}\nAuthor: Ada <ada@example.org>\nsignature: none\n",
    "uuid": 'id=8f14e45f-ceea-467f-9d0b-7e1a2b3c4d5e "key": "8f14e45f-ceea-467f-9d0b-7e1a2b3c4d5e"',
    "npm lock": f'"integrity": "sha512-{INTEGRITY}",\n"resolved": "https://registry.npmjs.org/a.tgz"',
    "poetry lock": f'{{file = "a-1.0.whl", hash = "sha256:{DIGEST}"}},',
    "cargo lock": f'name = "a"\nchecksum = "{DIGEST}"',
    "go.sum": f"golang.org/x/crypto v0.1.0 h1:{INTEGRITY[:43]}=",
    "public key": f'public_key: "{INTEGRITY}"\nssh-ed25519 {INTEGRITY[:68]} bob@host',
    "code": """
        sort_key="created_at_descending_v2"; primary_key = "customer_account_number_1"
        token = response.json()["access_token1"]; key=lambda item: item[1]
        key="AbstractFactoryBean2Implementation"; keys = sorted(dictionary1.items())
        signature: def foo(self, x1) -> int; cache-key: node-modules-linux-x64-v18
        idempotency_key = "order-2024-11-24-000123"; foreign_key="auth_user_permissions_2"
        auth_token: ${{ secrets.DEPLOY_TOKEN_V2 }}; tokens: 1234567890123456789
        os.environ["AWS_SECRET_ACCESS_KEY"]; APACHE2LICENSE; ibm cloud iam; cos(hmac_secret)
    """,
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_only_looks_random_is_no_secret(kind):
    assert judged(HARMLESS[kind]) == []


@pytest.mark.parametrize("name", ["github", "aws", "telegram", "stripe", "assigned"])
def test_a_token_split_between_passages_is_seen_wherever_it_is_cut(name):
    head, token, tail = TOKENS[name]
    text = f"here: {head}{token}{tail} ok"

    for cut in range(len("here: "), len(text) - len(tail) - 4):
        assert token in marked(text[cut:], before=text[:cut])


def test_what_lies_wholly_in_the_text_before_is_not_reported_again():
    assert judged(" and so on", before=TOKENS["github"][1]) == []


def test_half_a_word_of_the_text_before_is_no_token():
    token = TOKENS["github"][1]
    before = "x" * 400 + token[:-8]

    assert judged(token[-8:], before) == []
    assert judged(token[-8:], before[-(OVERLAP + 100) :]) == []


def test_a_token_is_found_once_wherever_a_stretch_cuts_a_long_text():
    token = TOKENS["github"][1]
    for start in range(STRETCH - OVERLAP - len(token), STRETCH + 1, 7):
        text = "y" * (start - 1) + " " + token + " " + "z " * STRETCH

        (verdict,) = judged(text)
        assert [text[span.start : span.end] for span in verdict.spans] == [token]


def test_spans_count_code_points_and_lone_surrogates_hide_nothing():
    token = TOKENS["stripe"][1]

    assert marked(f"😀 é {chr(0xD800)} {token}{chr(0xDFFF)}") == {token}


def test_what_lies_beyond_the_limit_is_not_called_harmless():
    token = TOKENS["github"][1]

    found, unread = judged(f"{token} " + "word " * (LIMIT // 5))

    assert found.score == 0.97
    assert (unread.category, unread.score, unread.error) == (CATEGORY, None, "too_long")


def test_what_is_found_too_often_is_found_everywhere():
    (verdict,) = judged(f"{TOKENS['stripe'][1]} " * (MAX_SPANS + 1))

    assert (verdict.score, verdict.spans) == (0.97, ())


@pytest.mark.parametrize(
    "piece",
    [
        *("aws_secret_key = '", "AccountKey=a", "://a:b@", "//a/:_authToken=npm_", "T3BlbkFJ"),
        *("sk-T3BlbkFJ", "key=", "ibm-cloud-", "\u0301", "1", "\r\n", "xoxb-1-", "MAAAAAAAAAAA"),
    ],
)
def test_hostile_text_takes_bounded_time(piece):
    text = (piece * 100_000)[:100_000]
    started = time.perf_counter()

    judged(text)

    assert time.perf_counter() - started < 5  # less than a tenth of it, on an idle machine


@given(st.text(max_size=200), st.text(max_size=50))
def test_every_verdict_is_well_formed_for_any_text(text, before):
    for verdict in judged(text, before):
        assert verdict.category == CATEGORY
        assert 0 < verdict.score <= 1
        assert all(-len(before) <= s.start < s.end <= len(text) for s in verdict.spans)


def test_an_empty_text_has_no_verdict():
    assert judged("") == judged("", TOKENS["stripe"][1]) == []


def test_other_requests_get_a_turn_while_a_long_text_is_read():
    turns = 0

    async def count():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def main():
        counting = asyncio.create_task(count())
        await SECRETS.classify([Passage(Source.USER, "word " * 20_000)])
        counting.cancel()

    asyncio.run(main())

    assert turns > 10
