import base64

import pytest

from gateway.webhook_endpoints import read_endpoints

SECRET = "whsec_" + base64.b64encode(b"s" * 24).decode()
FILE = f"""
[[endpoint]]
name = "pager"
url = "https://hooks.example/ostiary"
secret = "{SECRET}"
events = ["safety.alert.created"]
projects = ["shop-*"]
"""


def read(tmp_path, text=FILE):
    file = tmp_path / "webhooks.toml"
    file.write_text(text)
    return read_endpoints(str(file))


def test_without_a_file_nobody_is_told():
    assert read_endpoints("") == ()


def test_an_endpoint_is_told_of_what_it_wants(tmp_path):
    [endpoint] = read(tmp_path)

    assert endpoint.wants("safety.alert.created", "shop-eu")
    assert not endpoint.wants("safety.alert.created", "other")
    assert not endpoint.wants("safety.warning_issued", "shop-eu")
    assert SECRET not in repr(endpoint)


def test_a_secret_may_stand_in_the_environment(tmp_path, monkeypatch):
    text = FILE.replace(f'secret = "{SECRET}"', 'secret_env = "PAGER_SECRET"')
    with pytest.raises(ValueError, match="`PAGER_SECRET` is not set"):
        read(tmp_path, text)

    monkeypatch.setenv("PAGER_SECRET", SECRET)
    assert read(tmp_path, text)[0].secret == SECRET


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("https://", "ftp://", "must be an `https://` URL"),
        ("https://", "https://me@", "without a user"),
        ("https://", "https://:word@", "without a user"),
        ("hooks.example", "hooks.example:99999", "must be an `https://` URL"),
        (SECRET, "whsec_short", "base64 of 24 to 64 bytes"),
        (SECRET, base64.b64encode(b"s" * 24).decode(), "a secret is `whsec_`"),
        (f'secret = "{SECRET}"\n', "", "give `secret` or `secret_env`"),
        ("safety.alert.created", "safety.alert.made", "events.0"),
        ('["shop-*"]', "[]", "projects"),
        ('name = "pager"', 'name = "Pager"', "name"),
        ("[[endpoint]]", "[[endpoints]]", "unknown key `endpoints`"),
        ("events =", "event =", "unknown key `endpoint.0.event`"),
    ],
)
def test_a_mistake_is_named(tmp_path, old, new, message):
    with pytest.raises(ValueError, match=r"webhooks\.toml") as caught:
        read(tmp_path, FILE.replace(old, new))
    assert message in str(caught.value)


def test_two_endpoints_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="listed twice"):
        read(tmp_path, FILE + FILE)
