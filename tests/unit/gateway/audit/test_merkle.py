import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from gateway.audit.merkle import (
    EMPTY_ROOT,
    ProofError,
    Tree,
    blocks,
    check_consistency,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    nodes_of,
    range_hash,
    root_from_inclusion_proof,
    root_hash,
)

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "merkle.json").read_text())
KNOWN = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]

ENTRIES = st.lists(st.binary(max_size=8), min_size=1, max_size=70)
LEAVES = ENTRIES.map(lambda entries: [leaf_hash(entry) for entry in entries])


def known(proof):
    return [bytes.fromhex(hash) for hash in proof]


@pytest.mark.parametrize(("size", "root"), list(enumerate(VECTORS["roots"])))
def test_the_known_trees_have_the_known_roots(size, root):
    assert root_hash(KNOWN[:size]).hex() == root


@pytest.mark.parametrize("case", VECTORS["inclusion"])
def test_the_known_leaves_have_the_known_audit_paths(case):
    made = inclusion_proof(case["index"], case["size"], nodes_of(KNOWN))

    assert made == known(case["proof"])


@pytest.mark.parametrize("case", VECTORS["consistency"])
def test_the_known_trees_have_the_known_consistency_proofs(case):
    made = consistency_proof(case["old"], case["new"], nodes_of(KNOWN))

    assert made == known(case["proof"])


@given(ENTRIES, st.data())
def test_another_implementation_makes_the_same_roots_and_proofs(entries, data):
    oracle = InmemoryTree.init_from_entries(entries)
    leaves = [leaf_hash(entry) for entry in entries]
    size = data.draw(st.integers(1, len(leaves)))
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))

    assert root_hash(leaves[:size]) == oracle.get_root(size)
    path = oracle.prove_inclusion(index + 1, size).path
    assert [leaves[index], *inclusion_proof(index, size, nodes_of(leaves))] == path
    check_consistency(
        (old, oracle.get_root(old)),
        (size, oracle.get_root(size)),
        consistency_proof(old, size, nodes_of(leaves)),
    )


@given(LEAVES)
def test_a_tree_that_grows_leaf_by_leaf_has_the_root_of_them_all(leaves):
    tree = Tree()
    for number, leaf in enumerate(leaves, 1):
        tree.append(leaf)
        assert (tree.size, tree.root()) == (number, root_hash(leaves[:number]))


@given(LEAVES, st.data())
def test_a_tree_can_grow_by_the_subtrees_before_and_after_a_range(leaves, data):
    begin = data.draw(st.integers(0, len(leaves)))
    end = data.draw(st.integers(begin, len(leaves)))
    nodes = nodes_of(leaves)
    tree = Tree()
    for level, index in blocks(0, begin):
        tree.append_subtree(level, nodes(level, index))
    for leaf in leaves[begin:end]:
        tree.append(leaf)
    for level, index in blocks(end, len(leaves)):
        tree.append_subtree(level, nodes(level, index))

    assert tree.root() == root_hash(leaves) == range_hash(0, len(leaves), nodes)


def test_a_subtree_cannot_begin_where_none_of_its_size_does():
    tree = Tree()
    tree.append(KNOWN[0])

    with pytest.raises(ValueError, match=r"2\^1 leaves cannot begin at leaf 1"):
        tree.append_subtree(1, KNOWN[1])


def test_an_empty_tree_hashes_the_empty_string():
    assert Tree().root() == root_hash([]) == EMPTY_ROOT


@given(LEAVES, st.data())
def test_every_leaf_proves_its_way_to_the_root(leaves, data):
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = inclusion_proof(index, len(leaves), nodes_of(leaves))

    assert root_from_inclusion_proof(leaves[index], index, len(leaves), proof) == root_hash(leaves)


@given(LEAVES, st.data())
def test_no_altered_inclusion_proof_leads_to_the_root(leaves, data):
    size = len(leaves)
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, nodes_of(leaves))
    claim = [leaves[index], index, proof]
    match data.draw(st.sampled_from(["leaf", "index", "hash", "order"])):
        case "leaf":
            claim[0] = leaf_hash(b"something else")
        case "index":
            claim[1] = data.draw(st.integers(0, size - 1))
            assume(leaves[claim[1]] != leaves[index])
        case "hash":
            assume(proof)
            at = data.draw(st.integers(0, len(proof) - 1))
            claim[2] = [*proof[:at], leaf_hash(proof[at]), *proof[at + 1 :]]
        case _:
            claim[2] = proof[::-1]
            assume(claim[2] != proof)

    with suppress(ProofError):
        assert root_from_inclusion_proof(*claim[:2], size, claim[2]) != root_hash(leaves)


@given(LEAVES)
def test_a_spare_hash_is_refused(leaves):
    proof = [*inclusion_proof(0, len(leaves), nodes_of(leaves)), leaf_hash(b"spare")]

    with pytest.raises(ProofError, match="too long"):
        root_from_inclusion_proof(leaves[0], 0, len(leaves), proof)


@given(LEAVES.filter(lambda leaves: len(leaves) > 1))
def test_a_shortened_proof_is_refused(leaves):
    proof = inclusion_proof(0, len(leaves), nodes_of(leaves))

    with pytest.raises(ProofError, match="too short"):
        root_from_inclusion_proof(leaves[0], 0, len(leaves), proof[:-1])


@pytest.mark.parametrize("index", [-1, 8, 9])
def test_a_leaf_outside_the_tree_has_no_proof(index):
    with pytest.raises(IndexError):
        inclusion_proof(index, 8, nodes_of(KNOWN))
    with pytest.raises(ProofError, match="outside"):
        root_from_inclusion_proof(KNOWN[0], index, 8, [])


@pytest.mark.parametrize("hash", [b"", b"x" * 31, b"x" * 33])
def test_a_hash_of_another_length_is_refused(hash):
    with pytest.raises(ProofError, match="32 bytes"):
        root_from_inclusion_proof(KNOWN[0], 0, 2, [hash])
    with pytest.raises(ProofError, match="32 bytes"):
        check_consistency((1, KNOWN[0]), (2, root_hash(KNOWN[:2])), [hash])


@given(LEAVES, st.data())
def test_a_tree_is_consistent_with_all_it_was_before(leaves, data):
    old = data.draw(st.integers(0, len(leaves)))
    proof = consistency_proof(old, len(leaves), nodes_of(leaves))

    check_consistency((old, root_hash(leaves[:old])), (len(leaves), root_hash(leaves)), proof)


@given(LEAVES, st.data())
def test_no_altered_consistency_proof_is_taken(leaves, data):
    size = len(leaves)
    old = data.draw(st.integers(1, size))
    proof = consistency_proof(old, size, nodes_of(leaves))
    before, after = root_hash(leaves[:old]), root_hash(leaves)
    match data.draw(st.sampled_from(["before", "after", "hash", "spare", "short"])):
        case "before":
            before = leaf_hash(before)
        case "after":
            after = leaf_hash(after)
        case "hash":
            assume(proof)
            at = data.draw(st.integers(0, len(proof) - 1))
            proof[at] = leaf_hash(proof[at])
        case "spare":
            proof.append(leaf_hash(b"spare"))
        case _:
            assume(proof)
            proof.pop()

    with pytest.raises(ProofError):
        check_consistency((old, before), (size, after), proof)


def test_a_tree_is_not_consistent_with_a_larger_one():
    with pytest.raises(ProofError, match="does not hold one of size 3"):
        check_consistency((3, KNOWN[0]), (2, KNOWN[0]), [])
    with pytest.raises(IndexError):
        consistency_proof(3, 2, nodes_of(KNOWN))


def test_from_nothing_a_proof_must_be_empty_and_nothing_be_the_empty_root():
    check_consistency((0, EMPTY_ROOT), (1, KNOWN[0]), [])
    with pytest.raises(ProofError, match="too long"):
        check_consistency((0, EMPTY_ROOT), (1, KNOWN[0]), [KNOWN[0]])
    with pytest.raises(ProofError, match="different root"):
        check_consistency((0, KNOWN[1]), (1, KNOWN[0]), [])
