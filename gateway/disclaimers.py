"""What a policy puts behind a reply, such as "this is no legal advice". Pure."""

from __future__ import annotations

from gateway.exchange import Exchange
from model_runner.types import Channel, Delta

GAP = "\n\n"


def disclaimer(exchange: Exchange, said: Delta | None) -> Delta | None:
    """Return what is to follow the last words of a reply, or None for nothing.

    It is the operator's text, so it is not judged. It follows only words of the final
    channel: a call has no reader, and an answer in JSON would be JSON no more.

    Args:
        exchange: What was decided so far.
        said: The last passage of the reply, or None if it said nothing.
    """
    plain = exchange.prompt.json_schema is None
    if not exchange.disclaimers or said is None or said.channel is not Channel.FINAL or not plain:
        return None
    return Delta(Channel.FINAL, GAP + GAP.join(exchange.disclaimers), said.message)
