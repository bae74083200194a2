"""How a tree is stored: tiles of up to 256 hashes, as in c2sp.org/tlog-tiles. Pure.

A tile at level 0 holds leaf hashes; one at level L the roots of full tiles at level L - 1.
Appending rewrites the last tile of a level or two and adds new ones; a proof reads a few
tiles. Every node of a tree is in a tile or follows from one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gateway.audit.merkle import HASH_SIZE, Nodes, blocks, root_hash

HEIGHT = 8  # levels of the tree in one tile
WIDTH = 1 << HEIGHT  # hashes in a full tile


class Place(NamedTuple):
    """Which tile of a tree."""

    level: int
    number: int


class Tile(NamedTuple):
    """A tile and what it holds: 1 to `WIDTH` hashes, one after the other."""

    place: Place
    hashes: bytes


def last_places(size: int) -> list[Place]:
    """Return where the tiles are that a tree of `size` will grow in: those that are not full."""
    places, level = [], 0
    while size:
        if size % WIDTH:
            places.append(Place(level, size // WIDTH))
        size, level = size // WIDTH, level + 1
    return places


def grown(size: int, last: Mapping[tuple[int, int], bytes], leaves: Sequence[bytes]) -> list[Tile]:
    """Return the tiles that are new or have changed when `leaves` are appended.

    Args:
        size: Of the tree before.
        last: The hashes in `last_places(size)`.
        leaves: Leaf hashes, in log order.
    """
    changed: list[Tile] = []
    level, hashes = 0, list(leaves)
    while hashes:
        number = size // WIDTH
        row = last.get(Place(level, number), b"") + b"".join(hashes)
        hashes = []
        for tile in _split(level, number, row):
            changed.append(tile)
            if len(tile.hashes) == WIDTH * HASH_SIZE:
                hashes.append(root_hash(split_hashes(tile.hashes)))
        size, level = number, level + 1
    return changed


def places_of(ranges: Iterable[tuple[int, int]]) -> set[Place]:
    """Return the tiles from which the hashes of these ranges of leaves follow."""
    return {_place(level, index) for begin, end in ranges for level, index in blocks(begin, end)}


def nodes_in(tiles: Mapping[tuple[int, int], bytes]) -> Nodes:
    """Return the nodes that follow from `tiles`.

    The function raises `LookupError` where a tile or a hash in it is missing.
    """

    def node(level: int, index: int) -> bytes:
        place = _place(level, index)
        height = level % HEIGHT
        begin = (index << height) % WIDTH * HASH_SIZE
        part = tiles[place][begin : begin + (HASH_SIZE << height)]
        if len(part) != HASH_SIZE << height:
            raise LookupError(f"tile {place.level}/{place.number} is too short")
        return root_hash(split_hashes(part))

    return node


def split_hashes(hashes: bytes) -> list[bytes]:
    """Return hashes that stand one after the other."""
    return [hashes[at : at + HASH_SIZE] for at in range(0, len(hashes), HASH_SIZE)]


def _place(level: int, index: int) -> Place:
    return Place(level // HEIGHT, (index << level % HEIGHT) // WIDTH)


def _split(level: int, number: int, row: bytes) -> list[Tile]:
    step = WIDTH * HASH_SIZE
    return [
        Tile(Place(level, number + at // step), row[at : at + step])
        for at in range(0, len(row), step)
    ]
