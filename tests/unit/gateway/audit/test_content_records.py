import json

import pytest
import rfc8785

from gateway.audit import content_records as records
from gateway.audit.entry import MAX_BYTES, Replica
from gateway.audit.projection import columns_of

REPLICA = Replica("rep_test", "1.0")
WHO = {"actor": "cli:alice"}
SUBJECT = "ab" * 16
LONG = "\x00" * 100_000

ENTRIES = [
    records.erasure_requested("shop", SUBJECT, id="e", reason=LONG, **WHO),
    records.erasure_completed("shop", SUBJECT, id="e", keys=3, **WHO),
    records.hold_added("shop", None, id="h", reason="case 12", **WHO),
    records.hold_released("shop", SUBJECT, id="h", reason="", **WHO),
    records.content_expired(5, 2, before={"content": "2026-01-01T00:00:00.000000Z"}),
    records.rotation_started(2, master_key="ab" * 8, **WHO),
    records.rotated(7, master_key="ab" * 8, **WHO),
    records.opened([{"id": "1"}] * 100, id="req_1", project="shop", reason=LONG, **WHO),
    records.searched(dict.fromkeys("abcdefghij", (LONG,) * 100), found=0, surface="cli", **WHO),
    records.exported({"shard": None, "since": "2026", "until": None}, **WHO),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.type)
def test_an_entry_is_canonical_fits_and_gives_its_columns(entry):
    row = entry.row(REPLICA, 1)
    document = json.loads(row.body)

    assert row.body == rfc8785.dumps(document)
    assert len(row.body) <= MAX_BYTES
    assert tuple(columns_of(document)) == row[:-1]
    assert document["actor"]["key"]


def test_a_search_of_many_values_says_how_many_more_there_were():
    entry = records.searched({"rules": tuple("abcdefghijk")}, found=0, surface="cli", **WHO)

    assert entry.body["criteria"] == {"rules": [*"abcdefgh", "and 3 more"]}
