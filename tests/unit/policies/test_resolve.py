import time

import pytest

from policies.bundle import Pin, SourceFile
from policies.load import parse_bundle, read_policy
from policies.resolve import MAX_DEPTH, Library, PolicyError, identity, resolve

RULE = (
    "categories: {weapons: {}}\nrules:\n  - {id: %s, category: weapons, stages: [input], "
    "bands: [{gte: 0.8, actions: [block]}]}\n"
)


def source(name, *includes, version="1.0.0", file=None, wanted="^1.0"):
    head = (
        "apiVersion: ostiary/v1\nkind: Policy\n"
        f"metadata: {{id: {name}, version: {version}, owner: ts@acme.example}}\n"
    )
    if includes:
        head += "includes:\n" + "".join(
            f'  - {{id: {each}, version: "{wanted}"}}\n' for each in includes
        )
    text = head + RULE % f"rule-of-{name}"
    return SourceFile(file or f"{name}-{version}.yaml", text.encode())


def lock_of(file, *others):
    return resolve(file, Library(others, pinned=False)).bundle.lock


def mistakes(file, library):
    with pytest.raises(PolicyError) as caught:
        resolve(file, library)
    return "\n".join(caught.value.lines())


OWN, BASE = source("own", "base"), source("base")


def test_an_include_is_the_one_that_the_lock_names():
    found = resolve(OWN, Library((BASE,), lock_of(OWN, BASE)))

    assert [each.id for each in found.policy.rules] == ["rule-of-base", "rule-of-own"]


def test_an_include_that_no_lock_names_is_refused():
    assert "policy.lock does not say which `base`" in mistakes(OWN, Library((BASE,)))


def test_another_digest_than_the_locked_one_is_refused():
    touched = SourceFile(BASE.name, BASE.content.replace(b"0.8", b"0.9"))

    found = mistakes(OWN, Library((touched,), lock_of(OWN, BASE)))

    assert "is not the one that policy.lock names" in found


def test_a_comment_in_an_included_file_changes_nothing():
    touched = SourceFile(BASE.name, b"# a word\n" + BASE.content)

    before = resolve(OWN, Library((BASE,), lock_of(OWN, BASE))).policy
    after = resolve(OWN, Library((touched,), lock_of(OWN, BASE))).policy

    assert before == after


def test_the_digest_of_a_policy_changes_with_what_it_includes():
    touched = SourceFile(BASE.name, BASE.content.replace(b"0.8", b"0.9"))
    before = resolve(OWN, Library((BASE,), pinned=False)).policy.digest

    assert resolve(OWN, Library((touched,), pinned=False)).policy.digest != before


def test_the_locked_version_is_taken_and_not_the_newest():
    newer = source("base", version="1.1.0")

    assert lock_of(OWN, BASE, newer)["own"]["base"].version == "1.1.0"
    found = resolve(OWN, Library((newer, BASE), lock_of(OWN, BASE)))
    assert found.policy.includes[0].version == "1.0.0"


def test_the_newest_version_is_found_by_number_and_not_by_text():
    others = [source("base", version=version) for version in ("1.9.0", "1.10.0", "2.0.0")]

    assert lock_of(OWN, *others)["own"]["base"].version == "1.10.0"


def test_a_version_out_of_range_is_refused_even_if_it_is_locked():
    other = source("base", version="2.0.0")
    pinned = lock_of(source("own", "base", wanted="2"), other)

    assert "there is 2.0.0" in mistakes(OWN, Library((other,), pinned))


def test_an_unknown_include_suggests_the_near_one():
    found = mistakes(source("own", "bsae"), Library((BASE,), pinned=False))

    assert "unknown policy `bsae`; did you mean `base`?" in found


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([source("base", "own")], id="two"),
        pytest.param([source("base", "third"), source("third", "own")], id="three"),
        pytest.param([source("base", "third"), source("third", "base")], id="further on"),
    ],
)
def test_a_circle_of_includes_is_refused(others):
    assert "includes itself" in mistakes(OWN, Library(tuple(others), pinned=False))


def test_a_policy_that_includes_itself_is_refused():
    own = source("own", "own")

    assert "`own` includes itself" in mistakes(own, Library((own,), pinned=False))


def test_a_chain_that_is_too_long_is_refused():
    chain = [source(f"p{at}", f"p{at + 1}") for at in range(60)] + [source("p60")]
    short = chain[60 - MAX_DEPTH :]

    assert "deeper than" in mistakes(chain[0], Library(tuple(chain), pinned=False))
    assert len(resolve(short[0], Library(tuple(short), pinned=False)).policy.includes) == MAX_DEPTH


@pytest.mark.parametrize("broken", [False, True])
def test_diamonds_upon_diamonds_take_no_longer_than_their_files(broken):
    layers = [
        source(f"{side}{at}", f"left{at + 1}", f"right{at + 1}")
        for at in range(15)
        for side in ("left", "right")
    ]
    last = [source("left15"), source("right15", *(["nowhere"] if broken else []))]
    own = source("own", "left0", "right0")
    library = Library((*layers, *last), pinned=False)

    started = time.perf_counter()
    if broken:
        assert "unknown policy `nowhere`" in mistakes(own, library)
    else:
        assert len(resolve(own, library).policy.includes) == 32
    assert time.perf_counter() - started < 10


def test_a_mistake_in_an_include_is_told_where_it_is_included():
    broken = SourceFile("base.yaml", BASE.content.replace(b"weapons: {}", b"spam: {}"))

    found = mistakes(OWN, Library((broken,), pinned=False))

    assert found.startswith("own-1.0.0.yaml:5:")
    assert "base.yaml:6:" in found


def test_files_of_the_same_name_are_both_in_the_bundle(tmp_path):
    left = source("left", file="policy.yaml")
    right = source("right", file="policy.yaml")
    own = source("own", "left", "right", file="policy.yaml")

    found = resolve(own, Library((left, right), pinned=False))

    assert parse_bundle(found.bundle.encoded()).policy == found.policy


def test_a_bundle_of_a_file_with_a_long_path_can_be_read(tmp_path):
    folder = tmp_path / ("f" * 150) / ("g" * 150)
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_bytes(source("own").content)

    found = read_policy(folder / "own.yaml")

    assert parse_bundle(found.bundle.encoded()).policy == found.policy


@pytest.mark.parametrize(
    "metadata",
    [
        f"{{id: base, version: {'9' * 5000}}}",
        "{id: base, version: \u0661.0.0}",
        "{id: base, version: 1..0}",
        "{id: base, version: {a: 1}}",
        "{id: base}",
        "[base]",
        "&a {id: base}",
    ],
)
def test_an_odd_neighbour_is_no_candidate_and_no_crash(metadata):
    odd = SourceFile("odd.yaml", f"metadata: {metadata}\n".encode())

    assert identity(odd)[1] == "0.0.0"
    assert resolve(OWN, Library((odd, BASE), lock_of(OWN, BASE))).policy.id == "own"
    assert "base" in mistakes(OWN, Library((odd,), {"own": {"base": Pin("0.0.0", "0" * 64)}}))


def test_the_same_bundle_gives_the_same_policy_wherever_it_is_read():
    found = resolve(OWN, Library((BASE,), lock_of(OWN, BASE)))
    again = parse_bundle(found.bundle.encoded())

    assert again.policy == found.policy
    assert again.bundle.encoded() == found.bundle.encoded()


def test_a_bundle_whose_files_do_not_fit_its_lock_is_refused():
    found = resolve(OWN, Library((BASE,), lock_of(OWN, BASE)))
    touched = found.bundle.encoded().replace(b"gte: 0.8", b"gte: 0.9")

    with pytest.raises(PolicyError, match="is not the one"):
        parse_bundle(touched)
