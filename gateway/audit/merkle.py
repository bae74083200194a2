"""RFC 6962 Merkle trees: hashing, proofs, and what verifies them. Pure.

Names follow RFC 6962 section 2.1 and C2SP tlog-tiles: leaf, node, tree size, root hash,
inclusion and consistency proof. What makes a proof reads nodes through a function, so
that it does not matter where they lie; what verifies one has nothing but its arguments,
and refuses a proof that is longer or shorter than its tree allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

HASH_SIZE = 32  # bytes, SHA-256
EMPTY_ROOT = sha256(b"").digest()  # the root of a tree without leaves

# Domain separation: a leaf can never be passed off as an interior node.
_LEAF = b"\x00"
_NODE = b"\x01"

# Returns the hash of the complete subtree over leaves [index << level, (index + 1) << level).
Nodes = Callable[[int, int], bytes]


class ProofError(ValueError):
    """A proof cannot belong to a tree of this size, or leads elsewhere."""


class Tree:
    """A tree that grows; holds only its right edge, one hash per bit set in its size.

    Attributes:
        size: How many leaves it has.
    """

    __slots__ = ("_edge", "size")

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[tuple[int, bytes]] = []  # level and hash, the largest subtree first

    def append(self, leaf: bytes) -> None:
        """Add a leaf's hash."""
        self.append_subtree(0, leaf)

    def append_subtree(self, level: int, hash: bytes) -> None:
        """Add a complete subtree of `2 ** level` leaves by its hash.

        Raises:
            ValueError: If the tree's size is no multiple of that.
        """
        if self.size & ((1 << level) - 1):
            raise ValueError(f"a subtree of 2^{level} leaves cannot begin at leaf {self.size}")
        self.size += 1 << level
        edge = self._edge
        while edge and edge[-1][0] == level:
            hash = node_hash(edge.pop()[1], hash)
            level += 1
        edge.append((level, hash))

    def root(self) -> bytes:
        """Return the root hash."""
        return _folded([hash for _, hash in self._edge])


def leaf_hash(entry: bytes) -> bytes:
    """Return the 32-byte hash of one log entry."""
    return sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the 32-byte hash over two nodes."""
    return sha256(_NODE + left + right).digest()


def root_hash(leaves: Sequence[bytes]) -> bytes:
    """Return the root over `leaves`, which are leaf hashes in log order.

    The root of an empty tree is the hash of the empty string (RFC 6962 2.1).
    """
    level, last = list(leaves), len(leaves)
    if not level:
        return EMPTY_ROOT
    while last > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        # An odd one out goes up as it is.
        level = [node_hash(*pair) for pair in pairs] + level[last - last % 2 :]
        last = len(level)
    return level[0]


def packed_root(leaves: bytes) -> bytes:
    """Return what `root_hash` does, of leaf hashes that stand one after the other.

    As many as are a power of two: a hash of a pair is then the hash of 64 bytes in a row.
    """
    step = 2 * HASH_SIZE
    while len(leaves) > HASH_SIZE:
        pairs = range(0, len(leaves), step)
        leaves = b"".join([sha256(_NODE + leaves[at : at + step]).digest() for at in pairs])
    return leaves


def blocks(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield level and index of the fewest complete subtrees that cover leaves [begin, end)."""
    while begin < end:
        level = (end - begin).bit_length() - 1
        if begin:
            level = min(level, (begin & -begin).bit_length() - 1)
        yield level, begin >> level
        begin += 1 << level


def range_hash(begin: int, end: int, nodes: Nodes) -> bytes:
    """Return `MTH(D[begin:end])` of RFC 6962; of [0, size) it is the root hash.

    A range that ends within the tree must be a node of some tree: as the ranges below are.
    """
    return _folded([nodes(level, index) for level, index in blocks(begin, end)])


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Return of which ranges an inclusion proof holds the hashes, leaf to root.

    Raises:
        IndexError: If leaf `index` is not in a tree of `size`.

    Source:
        RFC 6962 section 2.1.1, `PATH(m, D[n])`.
    """
    if not 0 <= index < size:
        raise IndexError(f"no leaf {index} in a tree of size {size}")
    begin, end, ranges = 0, size, []
    while end - begin > 1:
        split = begin + _largest_power_of_two_below(end - begin)
        if index < split:
            ranges.append((split, end))
            end = split
        else:
            ranges.append((begin, split))
            begin = split
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    """Return of which ranges a consistency proof holds the hashes.

    Raises:
        IndexError: If a tree of size `new` does not hold one of size `old`.

    Source:
        RFC 6962 section 2.1.2, `PROOF(m, D[n])`; from nothing there is nothing to prove.
    """
    if not 0 <= old <= new:
        raise IndexError(f"a tree of size {new} does not hold one of size {old}")
    if old == 0:
        return []
    begin, end, ranges = 0, new, []
    while end != old:
        split = begin + _largest_power_of_two_below(end - begin)
        if old <= split:
            ranges.append((split, end))
            end = split
        else:
            ranges.append((begin, split))
            begin = split
    if begin:
        ranges.append((begin, old))
    return ranges[::-1]


def inclusion_proof(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """Return the audit path of a leaf, leaf to root: at most ceil(log2(size)) hashes.

    Raises:
        IndexError: If leaf `index` is not in a tree of `size`.
    """
    return [range_hash(*each, nodes) for each in inclusion_ranges(index, size)]


def consistency_proof(old: int, new: int, nodes: Nodes) -> list[bytes]:
    """Return the proof that the tree of size `new` begins with the one of size `old`.

    Raises:
        IndexError: If a tree of size `new` does not hold one of size `old`.
    """
    return [range_hash(*each, nodes) for each in consistency_ranges(old, new)]


def nodes_of(leaves: Sequence[bytes]) -> Nodes:
    """Return nodes that are computed from all leaves; for small trees."""
    return lambda level, index: root_hash(leaves[index << level : (index + 1) << level])


def root_from_inclusion_proof(
    leaf: bytes, index: int, tree_size: int, proof: Sequence[bytes]
) -> bytes:
    """Recompute the root that `proof` commits to; compare it with a signed checkpoint.

    Args:
        leaf: The leaf's hash, 32 bytes, as from `leaf_hash`.
        index: Zero-based position of the leaf.
        tree_size: Number of leaves in the tree the proof was made for.
        proof: Sibling hashes, leaf to root.

    Returns:
        The 32-byte root hash.

    Raises:
        ProofError: If the proof cannot belong to a tree of this size: the index
            is outside it, the proof has the wrong length, or a hash is not 32
            bytes. Length is checked because a verifier that ignores spare
            hashes accepts many proofs for one leaf.

    Source:
        RFC 9162 section 2.1.3.2, "Verifying an Inclusion Proof".
    """
    if not 0 <= index < tree_size:
        raise ProofError(f"leaf {index} is outside a tree of size {tree_size}")
    _check_hashes([leaf, *proof])
    node, last, computed = index, tree_size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofError("proof is too long for this tree size")
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise ProofError("proof is too short for this tree size")
    return computed


def check_consistency(
    old: tuple[int, bytes], new: tuple[int, bytes], proof: Sequence[bytes]
) -> None:
    """Check that one tree begins with another.

    Args:
        old: Size and root hash of the smaller tree, or of the same.
        new: Size and root hash of the larger one.
        proof: As `consistency_proof` makes it; empty for equal sizes and from size 0.

    Raises:
        ProofError: If it does not, or the proof cannot belong to these sizes.

    Source:
        RFC 9162 section 2.1.4.2, "Verifying Consistency between Two Tree Heads".
    """
    (old_size, old_root), (new_size, new_root) = old, new
    if not 0 <= old_size <= new_size:
        raise ProofError(f"a tree of size {new_size} does not hold one of size {old_size}")
    _check_hashes([old_root, new_root, *proof])
    if old_size in {0, new_size}:
        if proof:
            raise ProofError("proof is too long for these tree sizes")
        if old_root != (new_root if old_size else EMPTY_ROOT):
            raise ProofError(f"two trees of size {old_size} have different root hashes")
        return
    if _roots_from_consistency_proof(old, new_size, proof) != (old_root, new_root):
        raise ProofError(f"the tree of size {new_size} does not begin with the one of {old_size}")


def _roots_from_consistency_proof(
    old: tuple[int, bytes], new_size: int, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    old_size, old_root = old
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not path:
        raise ProofError("proof is too short for these tree sizes")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_computed = new_computed = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError("proof is too long for these tree sizes")
        if node & 1 or node == last:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new_computed = node_hash(new_computed, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise ProofError("proof is too short for these tree sizes")
    return old_computed, new_computed


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(hash) != HASH_SIZE for hash in hashes):
        raise ProofError(f"every hash must be {HASH_SIZE} bytes")


def _folded(hashes: list[bytes]) -> bytes:
    """Return the root over complete subtrees, the largest first."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def _largest_power_of_two_below(n: int) -> int:
    return 1 << (n - 1).bit_length() - 1
