"""OCSF events are held to the published schema, by a JSON Schema that others made of it."""

import hashlib
import io
import json

import jsonschema
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from gateway.audit.formats.ocsf import OCSF, VERSION, event


@pytest.fixture(scope="module")
def schemas():
    published = OcsfJsonSchemaEmbedded(get_ocsf_schema(VERSION))
    return {
        6003: published.get_class_schema("api_activity", ["ai_operation"]),
        2004: published.get_class_schema("detection_finding", ["security_control"]),
    }


@pytest.fixture(scope="module")
def captions():
    """The names of numbers, by class and attribute."""
    classes = get_ocsf_schema(VERSION)["classes"]

    def of(event, attribute):
        name = {6003: "api_activity", 2004: "detection_finding"}[event["class_uid"]]
        found = classes[name]["attributes"][attribute]["enum"]
        return found[str(event[attribute])]["caption"]

    return of


def test_every_event_is_valid_by_the_published_schema(all_records, schemas):
    for record in all_records:
        made = json.loads(json.dumps(event(record)))
        schema = schemas[made["class_uid"]]
        schema["properties"].pop("unmapped", None)
        unmapped = made.pop("unmapped")
        jsonschema.Draft202012Validator(schema).validate(made)
        assert unmapped["leaf_hash"] == record.leaf


def test_the_validator_refuses_what_is_not_valid(record, schemas):
    made = event(record("block"))
    made.pop("unmapped")
    for change in ({"severity_id": "4"}, {"no_such_attribute": 1}, {"class_uid": None}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schemas[2004]).validate(made | change)
    made.pop("finding_info")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schemas[2004]).validate(made)


def test_numbers_and_their_names_agree_with_the_schema(all_records, captions):
    for record in all_records:
        made = event(record)
        assert made["type_uid"] == made["class_uid"] * 100 + made["activity_id"]
        assert captions(made, "severity_id") == made["severity"]
        if made["activity_id"] != 99:
            assert captions(made, "activity_id") == made["activity_name"]
        if made["class_uid"] == 2004:
            for name in ("action", "disposition", "status"):
                assert captions(made, f"{name}_id") == made[name]


@pytest.mark.parametrize(
    ("kind", "klass"),
    [("allow", 6003), ("flag", 2004), ("block", 2004), ("overseen", 2004), ("completed", 6003)],
)
def test_what_a_policy_acted_on_is_a_finding_and_all_else_activity(record, kind, klass):
    assert event(record(kind))["class_uid"] == klass


def test_a_finding_names_the_decision_its_rules_and_its_policy(record):
    made = event(record("block"))

    assert made["finding_info"]["uid"] == record("block").entry["decision"]["id"]
    assert made["finding_info"]["analytic"]["uid"] == "a-rule,b"
    assert made["policy"] == {"name": "baseline", "uid": "ab" * 32, "version": "1.2.0"}
    assert (made["action"], made["disposition"], made["is_alert"]) == ("Denied", "Blocked", True)
    assert made["confidence_score"] == 50


def test_what_failed_is_a_failure(record):
    denied = event(record("denied"))

    assert (denied["status"], denied["http_response"]) == ("Failure", {"code": 429})
    assert event(record("completed"))["status"] == "Success"
    assert event(record("lost"))["status"] == "Failure"


def test_the_entry_itself_travels_with_its_hash(all_records):
    file = io.BytesIO()
    writer = OCSF.open(file, "1.0")
    writer.write(all_records)
    writer.close()
    lines = file.getvalue().splitlines()

    assert len(lines) == len(all_records)
    for line, record in zip(lines, all_records, strict=True):
        made = json.loads(line)
        assert made["raw_data"].encode() == record.body
        assert made["raw_data_hash"]["value"] == hashlib.sha256(record.body).hexdigest()
        assert made["metadata"]["uid"] == record.entry["id"]
