"""What of an exchange is kept, or may yet have to be: texts as they were judged. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import orjson

from classifiers.types import Passage, Source
from gateway.redaction import redacted
from policies.types import Redaction, Stage


@dataclass(frozen=True, slots=True)
class Said:
    """A text that was judged, without what a decision redacted.

    Attributes:
        stage: Where it was judged.
        source: Who said it.
        text: What is left of it.
        tool: The tool that was called, or that answered.
        message: The number of its message; what has the same one belongs together.
    """

    stage: Stage
    source: Source
    text: str
    tool: str | None = None
    message: int | None = None


@dataclass(slots=True)
class Keeping:
    """How an exchange's content is kept.

    Attributes:
        wanted: False where the project keeps none.
        due: Whether what is said is to be kept from here on.
        waiting: What was judged and is not kept yet.
        key_id: The id of the exchange's data key, once there is one.
        data_key: The key itself, 32 bytes.
    """

    wanted: bool = True
    due: bool = False
    waiting: list[Said] = field(default_factory=list)
    key_id: str = ""
    data_key: bytes = b""


def said(
    stage: Stage,
    passages: Sequence[Passage],
    redactions: Iterable[Redaction],
    message: int | None = None,
) -> list[Said]:
    """Return what may be kept of `passages`.

    Args:
        stage: Where they were judged.
        passages: What was judged.
        redactions: What was decided to be hidden in them.
        message: The number of the message that they are a part of; None where each is one.
    """
    cuts = list(redactions)
    return [
        Said(
            stage,
            passage.source,
            redacted(passage.text, [cut for cut in cuts if cut.passage == index]),
            passage.tool,
            message,
        )
        for index, passage in enumerate(passages)
    ]


def fields(waiting: Iterable[Said]) -> dict[str, tuple[int, bytes]]:
    """Return what is kept, by field: one for each stage, in order.

    Returns:
        How many code points of text it holds, and a JSON list of objects with `source`,
        `text` and, where there is one, `tool`. Pieces of one message are one object.
    """
    found: dict[str, list[Said]] = {}
    for each in waiting:
        found.setdefault(each.stage.value, []).append(each)
    return {
        name: (sum(len(each.text) for each in all_), _json(all_)) for name, all_ in found.items()
    }


def _json(all_: Sequence[Said]) -> bytes:
    objects: list[dict[str, str]] = []
    before: Said | None = None
    for each in all_:
        text = each.text.encode("utf-8", "replace").decode()
        if before is not None and _continues(before, each):
            objects[-1]["text"] += text
        else:
            named = {"tool": each.tool.encode("utf-8", "replace").decode()} if each.tool else {}
            objects.append({"source": each.source.value, "text": text, **named})
        before = each
    return orjson.dumps(objects)


def _continues(before: Said, each: Said) -> bool:
    return each.message is not None and (before.message, before.source, before.tool) == (
        each.message,
        each.source,
        each.tool,
    )
