"""OTLP lines are read back by OpenTelemetry's own protocol buffers."""

import io

from google.protobuf import json_format
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData, SeverityNumber

from gateway.audit.formats.otel import OTEL
from gateway.audit.formats.types import nanoseconds


def read(*pages):
    file = io.BytesIO()
    writer = OTEL.open(file, "9.9")
    for page in pages:
        writer.write(page)
    writer.close()
    return [json_format.Parse(line, LogsData()) for line in file.getvalue().splitlines()]


def records_in(messages):
    return [
        record
        for message in messages
        for resource in message.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


def attributes(record):
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in record.attributes
    }


def test_every_entry_is_a_log_record(all_records):
    found = records_in(read(all_records[:3], all_records[3:]))

    assert len(found) == len(all_records)
    for made, record in zip(found, all_records, strict=True):
        assert made.time_unix_nano == nanoseconds(record.entry["recorded_at"])
        assert made.event_name == f"ostiary.{record.entry['type']}"
        assert made.body.string_value.encode() == record.body
        assert attributes(made)["ostiary.log.leaf_hash"] == record.leaf
        assert attributes(made)["ostiary.log.index"] == record.index


def test_the_severity_and_its_text_agree(all_records):
    for made in records_in(read(all_records)):
        named = SeverityNumber.Name(made.severity_number).removeprefix("SEVERITY_NUMBER_")
        assert named == made.severity_text


def test_a_request_has_the_attributes_of_generative_ai(record):
    [made] = records_in(read([record("admitted")]))
    found = attributes(made)

    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.request.model"] == "gpt-oss-20b"
    assert found["gen_ai.request.temperature"] == 1.0
    assert isinstance(found["gen_ai.request.temperature"], float)
    assert found["gen_ai.request.seed"] == 7
    assert found["enduser.pseudo.id"] == "ab" * 16


def test_tokens_are_counted_where_a_request_ended(record):
    [made] = records_in(read([record("completed")]))

    assert attributes(made)["gen_ai.usage.input_tokens"] == 7
    assert attributes(made)["gen_ai.usage.output_tokens"] == 9


def test_rules_are_a_list(record):
    [made] = records_in(read([record("block")]))
    rules = attributes(made)["ostiary.decision.rules"]

    assert [value.string_value for value in rules.values] == ["a-rule", "b"]


def test_who_wrote_it_and_by_which_mapping_stands_beside(record):
    [message] = read([record()])
    resource = message.resource_logs[0]

    names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert names == {"service.name": "ostiary", "service.version": "9.9"}
    assert resource.scope_logs[0].scope.version == "1"


def test_a_line_is_never_longer_than_five_hundred_records(record):
    assert [len(records_in([line])) for line in read([record()] * 1001)] == [500, 500, 1]
