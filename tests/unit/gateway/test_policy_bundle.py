import shutil

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.policy_bundle import candidate_of, files_of, parse_candidate, read_candidate
from policies.bundle import LOCK_NAME, SourceFile
from policies.load import BUILTIN, PolicyError

OWN = """apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: trust-and-safety@acme.example}
includes:
  - {id: house, version: ^1.0}
  - {id: ostiary-baseline, version: ^1.0}
categories:
  secrets.credential: {severity: high, rationale: "a credential must not leave"}
rules:
  - id: secret-out
    category: secrets.credential
    stages: [output]
    bands:
      - {gte: 0.9, actions: [block]}
    tests:
      - {name: a key, given: {stage: output, scores: {secrets.credential: 0.95}}, expect: block}
      - {name: prose, given: {stage: output, scores: {secrets.credential: 0.1}}, expect: allow}
"""
HOUSE = (
    OWN.replace("id: acme", "id: house")
    .replace("secret-out", "house-secrets")
    .replace("includes:\n", "")
    .replace("  - {id: house, version: ^1.0}\n", "")
    .replace("  - {id: ostiary-baseline, version: ^1.0}\n", "")
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "acme.yaml").write_text(OWN)
    (tmp_path / "house.yaml").write_text(HOUSE)
    done = CliRunner().invoke(app, ["policy", "lock", str(tmp_path / "acme.yaml")])
    assert done.exit_code == 0, done.output
    return tmp_path


def sent(folder, *names):
    return [SourceFile(name, (folder / name).read_bytes()) for name in names]


def test_a_policy_from_a_file_is_the_one_that_its_files_make_when_they_are_sent(folder):
    read = read_candidate(str(folder / "acme.yaml"))
    received = candidate_of(sent(folder, "acme.yaml", LOCK_NAME, "house.yaml"))

    assert (received.digest, received.bundle) == (read.digest, read.bundle)
    assert read.rules > 2


def test_a_bundle_needs_nothing_around_it(folder):
    read = read_candidate(str(folder / "acme.yaml"))
    shutil.rmtree(folder)

    assert parse_candidate(read.bundle) == read


def test_the_files_of_a_bundle_can_be_sent_again(folder):
    read = read_candidate(str(folder / "acme.yaml"))

    files = files_of(read.bundle)

    assert {file.name for file in files} == {
        "acme.yaml",
        "house.yaml",
        "baseline.yaml",
        LOCK_NAME,
    }
    assert candidate_of(files) == read


def test_a_bundle_names_no_folders(folder):
    assert str(folder).encode() not in read_candidate(str(folder / "acme.yaml")).bundle


def test_what_is_included_has_to_be_sent_unless_we_ship_it(folder):
    with pytest.raises(PolicyError, match="house"):
        candidate_of(sent(folder, "acme.yaml", LOCK_NAME))


def test_an_include_that_is_not_locked_is_refused(folder):
    with pytest.raises(PolicyError, match=r"policy\.lock does not say which `house`"):
        candidate_of(sent(folder, "acme.yaml", "house.yaml"))


def test_an_include_with_another_content_is_not_the_one_that_was_locked(folder):
    (folder / "house.yaml").write_text(HOUSE.replace("gte: 0.9,", "gte: 0.94,"))

    with pytest.raises(PolicyError, match="`house`"):
        candidate_of(sent(folder, "acme.yaml", "house.yaml", LOCK_NAME))


def test_every_policy_that_we_ship_is_a_candidate():
    for path in sorted(BUILTIN.glob("*.yaml")):
        candidate = read_candidate(path.stem)

        assert parse_candidate(candidate.bundle) == candidate


def test_bytes_that_are_no_bundle_are_refused():
    with pytest.raises(PolicyError, match="bundle:1:1: not a bundle"):
        parse_candidate(b"{}")
