"""What the request formats of both APIs share: checked fields and their error texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import BadRequest, UnsupportedParameter
from model_runner.types import Effort, Tool, ToolMode

_TEXT_ONLY = "this is a text-only model"

Model = TypeVar("Model", bound=BaseModel)


class Wire(BaseModel):
    """Base of request schemas: unknown fields are ignored, types are not guessed."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class ModerationMode(Wire):
    """What moderation does on one side of the exchange."""

    mode: Literal["score", "block"]


class ModerationPolicy(Wire):
    """The sides that are moderated and how; `score` where nothing is said."""

    input: ModerationMode | None = None
    output: ModerationMode | None = None


class ModerationParam(Wire):
    """The `moderation` request parameter."""

    model: str
    policy: ModerationPolicy | None = None

    @property
    def blocks_input(self) -> bool:
        """Whether a flagged prompt is to be refused."""
        return bool(self.policy and self.policy.input and self.policy.input.mode == "block")

    @property
    def blocks_output(self) -> bool:
        """Whether a flagged reply is to be refused."""
        return bool(self.policy and self.policy.output and self.policy.output.mode == "block")


MetadataKey = Annotated[str, Field(max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)]
AccessPrograms = Annotated[dict[MetadataKey, MetadataKey], Field(max_length=16)]
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class CommonRequest(Wire):
    """Fields that Responses and Chat Completions share."""

    model: str
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2, strict=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, strict=False)] | None = None
    metadata: Metadata | None = None
    parallel_tool_calls: bool | None = None
    safety_identifier: Annotated[str, Field(max_length=128)] | None = None
    user: Annotated[str, Field(max_length=512)] | None = None
    moderation: ModerationParam | None = None
    access_programs: AccessPrograms | None = None


_BRANCHES = frozenset({"str", "constrained-str"})  # pydantic names a union's branch in the path

_EFFORTS = {
    "none": Effort.LOW,
    "minimal": Effort.LOW,
    "low": Effort.LOW,
    "medium": Effort.MEDIUM,
    "high": Effort.HIGH,
    "xhigh": Effort.HIGH,
    "max": Effort.HIGH,
}


def effort_of(name: str | None, param: str) -> Effort:
    """Return the nearest of gpt-oss's three efforts; medium where nothing is said."""
    if name is None:
        return Effort.MEDIUM
    if name not in _EFFORTS:
        raise BadRequest(f"`{param}` must be one of {', '.join(_EFFORTS)}", param=param)
    return _EFFORTS[name]


def tool_mode_of(
    choice: str | dict[str, Any] | None, named: Callable[[dict[str, Any]], str]
) -> tuple[ToolMode, str | None]:
    """Return whether a tool must be called, and which one, if one is named.

    Args:
        choice: The `tool_choice` field.
        named: Reads the function's name out of the object form.
    """
    if choice is None:
        return ToolMode.AUTO, None
    if isinstance(choice, dict):
        return ToolMode.REQUIRED, named(choice)
    if choice not in set(ToolMode):
        raise BadRequest(
            "`tool_choice` must be auto, none, required or a function", param="tool_choice"
        )
    return ToolMode(choice), None


def check_tool_choice(mode: ToolMode, choice: str | None, tools: Sequence[Tool]) -> None:
    """Refuse a choice that no offered tool could satisfy."""
    if choice is not None and choice not in {tool.name for tool in tools}:
        raise BadRequest(
            "`tool_choice` names a function that is not in `tools`", param="tool_choice"
        )
    if mode is ToolMode.REQUIRED and not tools:
        raise BadRequest(
            "`tool_choice` requires a function and `tools` is empty", param="tool_choice"
        )


def require_function(tool: Mapping[str, Any], where: str) -> None:
    """Refuse a tool that is not a function: there is nobody here to run it."""
    kind = tool.get("type")
    if kind != "function":
        raise UnsupportedParameter(
            f"`{where}.type`: `{str(kind)[:40]}` is not supported by this gateway; "
            "only `function` tools are",
            param=f"{where}.type",
        )


def checked(schema: type[Model], value: object, where: str = "") -> Model:
    """Return `value` as `schema`, or refuse it by the name of its first bad field."""
    try:
        return schema.model_validate(value)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_context=False, include_input=False)[0]
        param = _path(where, first["loc"])
        reason = first["msg"][:1].lower() + first["msg"][1:]
        code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
        raise BadRequest(f"`{param}`: {reason}", param=param, code=code) from None


def refuse_unsupported(body: Mapping[str, Any], neutral: Mapping[str, Sequence[object]]) -> None:
    """Refuse by name a field this gateway does not offer.

    Args:
        body: The request.
        neutral: Field name -> values that ask for nothing, which are let through.
    """
    for name, harmless in neutral.items():
        value = body.get(name)
        if value is not None and value not in harmless:
            raise UnsupportedParameter(f"`{name}` is not supported by this gateway", param=name)


def text_of(content: object, where: str, kinds: frozenset[str]) -> str:
    """Return the text of a content field: a string, or a list of text parts joined.

    Args:
        content: The field's value.
        where: Its path, for the error text.
        kinds: The part types that are text here.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadRequest(f"`{where}` must be a string or a list of parts", param=where)
    return "".join(_part_text(part, f"{where}[{n}]", kinds) for n, part in enumerate(content))


def _part_text(part: object, where: str, kinds: frozenset[str]) -> str:
    if not isinstance(part, dict) or not isinstance(kind := part.get("type"), str):
        raise BadRequest(f"`{where}` must be an object with a `type`", param=where)
    if kind not in kinds:
        media = any(word in kind for word in ("image", "audio", "file", "video"))
        reason = _TEXT_ONLY if media else f"expected one of {', '.join(sorted(kinds))}"
        raise BadRequest(
            f"`{where}.type`: `{kind[:40]}` is not accepted; {reason}", param=f"{where}.type"
        )
    text = part.get("refusal" if kind == "refusal" else "text")
    if not isinstance(text, str):
        raise BadRequest(f"`{where}.text` must be a string", param=f"{where}.text")
    return text


def _path(where: str, location: Sequence[int | str]) -> str:
    path = where
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step not in _BRANCHES and "[" not in step:
            path += f".{step}" if path else step
    return path
