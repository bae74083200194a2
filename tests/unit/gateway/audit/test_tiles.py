import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audit.merkle import (
    check_consistency,
    consistency_proof,
    consistency_ranges,
    inclusion_proof,
    inclusion_ranges,
    leaf_hash,
    range_hash,
    root_from_inclusion_proof,
    root_hash,
)
from gateway.audit.tiles import WIDTH, Place, grown, last_places, nodes_in, places_of

LEAVES = [leaf_hash(str(number).encode()) for number in range(3 * WIDTH + 7)]


def stored(leaves, steps=(10**9,)):
    """Return the tiles of a tree that grew by so many leaves at a time."""
    tiles, size = {}, 0
    for step in steps:
        added = leaves[size : size + step]
        last = {place: tiles[place] for place in last_places(size)}
        tiles.update((tile.place, tile.hashes) for tile in grown(size, last, added))
        size += len(added)
    return tiles


@settings(max_examples=25)
@given(st.lists(st.integers(1, 2 * WIDTH), max_size=8))
def test_tiles_are_the_same_whatever_a_tree_grew_by(steps):
    assert stored(LEAVES, [*steps, 10**9]) == stored(LEAVES)


@settings(max_examples=25)
@given(st.integers(1, len(LEAVES)), st.data())
def test_proofs_are_read_from_the_tiles_they_need_and_no_others(size, data):
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    tiles = stored(LEAVES)

    def read(ranges):
        return nodes_in({place: tiles[place] for place in places_of(ranges)})

    root = range_hash(0, size, read([(0, size)]))
    assert root == root_hash(LEAVES[:size])
    path = inclusion_proof(index, size, read(inclusion_ranges(index, size)))
    assert root_from_inclusion_proof(LEAVES[index], index, size, path) == root
    proof = consistency_proof(old, size, read(consistency_ranges(old, size)))
    check_consistency((old, root_hash(LEAVES[:old])), (size, root), proof)


def test_a_full_tile_has_its_root_one_level_up():
    tiles = stored(LEAVES)

    assert sorted(tiles) == [Place(0, 0), Place(0, 1), Place(0, 2), Place(0, 3), Place(1, 0)]
    assert tiles[1, 0][:32] == root_hash(LEAVES[:WIDTH])
    assert len(tiles[0, 3]) == 7 * 32


def test_a_tree_grows_in_the_tiles_that_are_not_full():
    assert last_places(0) == []
    assert last_places(WIDTH) == [Place(1, 0)]
    assert last_places(3 * WIDTH + 7) == [Place(0, 3), Place(1, 0)]
    assert last_places(WIDTH * WIDTH) == [Place(2, 0)]


def test_a_tile_that_is_missing_or_too_short_is_said_to_be():
    tiles = stored(LEAVES)
    with pytest.raises(LookupError):
        nodes_in({})(0, 0)
    with pytest.raises(LookupError, match="0/3 is too short"):
        nodes_in(tiles)(0, len(LEAVES))
