"""CEF is read back by a parser that was written from the standard, here."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.formats.cef import CEF, event
from tests.unit.gateway.audit.formats.conftest import ENTRIES, recorded

# Keys of the standard's dictionary that are used, and how long their values may be.
DICTIONARY = {
    "act": 63,
    "cat": 1023,
    "deviceExternalId": 255,
    "externalId": 40,
    "outcome": 63,
    "reason": 1023,
    "rt": 40,
    "suid": 1023,
    "suser": 1023,
    "flexString1": 1023,
    **{f"cs{number}": 4000 for number in range(1, 7)},
    **{f"cn{number}": 20 for number in range(1, 4)},
    "cfp1": 40,
}


def parse(line):
    """Return the header's seven fields and the extension."""
    assert line.startswith("CEF:")
    fields, text, at = [], "", len("CEF:")
    while len(fields) < 7:
        if line[at] == "\\":
            assert line[at + 1] in "\\|"
            text += line[at + 1]
            at += 2
        elif line[at] == "|":
            fields.append(text)
            text, at = "", at + 1
        else:
            text, at = text + line[at], at + 1
    extension = line[at:]
    found = {}
    # A key is a word before an `=` that is not escaped; a value reaches to the next key.
    keys = list(re.finditer(r"(?:^| )([A-Za-z0-9_]+)=", _masked(extension)))
    for number, key in enumerate(keys):
        end = keys[number + 1].start() if number + 1 < len(keys) else len(extension)
        assert key[1] not in found
        found[key[1]] = _unescaped(extension[key.end() : end])
    return fields, found


def _masked(extension):
    """Return it with each escaped pair replaced, so that it is no key's `=`."""
    return re.sub(r"\\.", "xx", extension)


def _unescaped(value):
    result, at = "", 0
    while at < len(value):
        if value[at] == "\\":
            result += {"n": "\n", "r": "\r", "\\": "\\", "=": "="}[value[at + 1]]
            at += 2
        else:
            assert value[at] != "="
            result, at = result + value[at], at + 1
    return result


def test_every_entry_is_one_line_that_a_parser_reads(all_records):
    file = io.BytesIO()
    writer = CEF.open(file, "1.0")
    writer.write(all_records)
    writer.close()
    lines = file.getvalue().decode().split("\n")

    assert lines.pop() == ""
    assert len(lines) == len(all_records)
    for line, record in zip(lines, all_records, strict=True):
        (version, vendor, product, build, signature, name, severity), found = parse(line)
        assert (version, vendor, product, build) == ("0", "Ostiary", "Ostiary", "1.0")
        assert signature == record.entry["type"]
        assert name
        assert 0 <= int(severity) <= 10
        assert found["externalId"] == record.entry["id"]
        assert found["cs6"] == record.leaf
        assert found["cn1"] == str(record.index)
        assert found["cn1Label"] == "logIndex"


def test_only_keys_of_the_standard_are_used_and_no_value_is_too_long(all_records):
    long = recorded(
        type(ENTRIES["block"])(
            "decision.recorded", {**ENTRIES["block"].body, "determining_rules": ["x" * 5000]}
        )
    )
    for record in [*all_records, long]:
        for key, value in parse(event(record))[1].items():
            most = DICTIONARY.get(key, DICTIONARY.get(key.removesuffix("Label")))
            assert most is not None, key
            assert len(value) <= most


def test_a_custom_field_has_its_label(all_records):
    for record in all_records:
        found = parse(event(record))[1]
        custom = {key for key in found if re.fullmatch(r"(cs|cn|cfp|flexString)\d", key)}
        assert {f"{key}Label" for key in custom} <= found.keys()


def test_a_decision_says_what_was_done_why_and_by_what(record):
    fields, found = parse(event(record("block")))

    assert fields[5] == "decision: block at output"
    assert (found["act"], found["reason"]) == ("block", "policy_violation")
    assert (found["cs1"], found["cs3"]) == ("baseline@1.2.0", "a-rule,b")
    assert found["suid"] == "ab" * 16


@given(text=st.text(max_size=60))
@pytest.mark.parametrize("separator", ["", "\\", "|", "=", "\n", " act=block"])
def test_no_text_changes_the_line_it_stands_in(text, separator):
    odd = f"{separator}{text}{separator}"
    entry = ENTRIES["block"]
    body = {**entry.body, "determining_rules": [odd]}
    line = event(recorded(type(entry)(entry.type, body)))
    _, found = parse(line)

    assert len(line.splitlines()) == 1
    assert found["act"] == "block"
    expected = odd.encode("utf-8", "replace").decode()
    assert found.get("cs3", "") == re.sub("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", "\n", expected)


@given(st.text(max_size=60))
def test_no_text_leaves_the_header_field_it_stands_in(text):
    entry = ENTRIES["block"]
    body = {**entry.body, "decision": {**entry.body["decision"], "stage": f"{text}|\\\n"}}
    fields, found = parse(event(recorded(type(entry)(entry.type, body))))

    assert fields[5].startswith("decision: block at ")
    assert fields[6] == "5"
    assert found["externalId"]
