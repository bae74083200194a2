"""The words of policy files: names, numbers and moments, as the format spells them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

# As Python's `datetime.fromisoformat` reads it, with the time zone said: always UTC.
MOMENT = r"^[0-9]{4}-[0-9][0-9]-[0-9][0-9](T[0-9][0-9]:[0-9][0-9](:[0-9][0-9])?Z)?$"

ActionName = Literal["allow", "flag", "warn", "redact", "review", "block"]
BESIDE = frozenset({"strike", "stop_conversation", "alert"})  # what a main action is not
StageName = Literal["input", "tool_result", "reasoning", "tool_call", "output"]
AgeGroupName = Literal["minor", "adult", "unknown"]
EndpointName = Literal["responses", "chat", "moderations"]
SanctionName = Literal["warn", "throttle", "suspend", "deactivate"]
Severity = Literal["low", "medium", "high", "critical"]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
RuleId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
CategoryId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._/-]{0,63}$")]
ClassifierName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Line = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=4000)]

Version = Annotated[str, Field(pattern=r"^[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}$")]
Moment = Annotated[str, Field(pattern=MOMENT)]  # UTC, as in `2026-12-01T00:00:00Z`
Span = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}[mhd]$")]  # minutes, hours or days
Pattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9*][A-Za-z0-9._:/@*-]{0,127}$")]
Patterns = Annotated[list[Pattern], Field(min_length=1, max_length=200)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
LanguageTag = Annotated[str, Field(pattern=r"^(default|[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3})$")]
# `default` is no language that somebody speaks: seven letters are for nobody, so it is refused.
Locale = Annotated[str, Field(pattern=r"^(\*|[A-Za-z]{2,6}(-[A-Za-z0-9]{1,8}){0,3})$")]


class Part(BaseModel):
    """A part of a file: strict, and without keys that we do not know."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )
