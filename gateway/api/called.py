"""Which calls a conversation has made, and which of them were answered.

A result is untrusted, and so is whoever passes it on: it has to answer a call that was made,
once, and under that call's name. An id may be used again once its call was answered, as some
clients do; while it waits for its result, a second call by the same id could be either.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.errors import BadRequest

CODE = "invalid_tool_result"


@dataclass(slots=True)
class Called:
    """The calls of one request's history, as they are read."""

    _waiting: dict[str, str] = field(default_factory=dict)  # call id -> function
    _answered: set[str] = field(default_factory=set)

    def made(self, call_id: str, name: str, param: str) -> None:
        """Note a call.

        Raises:
            BadRequest: If another call by this id waits for its result.
        """
        if call_id in self._waiting:
            message = f"`{param}`: another call with this id waits for its result"
            raise BadRequest(message, param=param, code=CODE)
        self._waiting[call_id] = name
        self._answered.discard(call_id)

    def answered(self, call_id: str | None, param: str, name: tuple[str | None, str]) -> str:
        """Note a result, and return the function that it came from.

        Args:
            call_id: As the result has it.
            param: The field it stands in.
            name: The function that the result itself names, if any, and the field.

        Raises:
            BadRequest: If no such call was made, it was answered before, or it was one of
                another function.
        """
        if call_id in self._answered:
            message = f"`{param}`: there is a result of this call already"
            raise BadRequest(message, param=param, code=CODE)
        if call_id not in self._waiting:
            message = f"`{param}`: no function call with this id comes before it"
            raise BadRequest(message, param=param, code=CODE)
        said, where = name
        made = self._waiting[call_id]
        if said is not None and said != made:
            message = f"`{where}`: the call with this id was one of another function"
            raise BadRequest(message, param=where, code=CODE)
        del self._waiting[call_id]
        self._answered.add(call_id)
        return made
