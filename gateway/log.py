"""Operations log: structured lines on stderr, with the request's id, without content.

Events are past-tense facts, values are keys. A value under a name that could hold text
of a caller or a secret is replaced by its length, whoever logged it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
# A value is redacted if its name, or the last word of it (`first_api_key`), is one of these.
_SENSITIVE = frozenset(
    {"api_key", "authorization", "cookie", "key", "password", "pepper", "secret", "token"}
    | {"arguments", "body", "completion", "content", "delta", "input", "instructions"}
    | {"message", "messages", "output", "passage", "prompt", "reply", "safety_identifier", "text"}
)
_MAX_DEPTH = 6


def configure_logging(level: str = "info", format: str = "console") -> None:
    """Set up structlog and the standard library's logging for this process.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        format: `console` for people, `json` for machines.

    Raises:
        ValueError: If `level` or `format` is none of these.
    """
    if level not in _LEVELS:
        raise ValueError(f"`{level}` is not one of {', '.join(_LEVELS)}")
    if format not in {"console", "json"}:
        raise ValueError(f"`{format}` is not one of console, json")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    structlog.configure(
        processors=[*shared, *_rendering(format)],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(format),
            ],
        )
    )
    # Other libraries' lines may quote what they were sent: only what went wrong is kept.
    logging.basicConfig(handlers=[handler], level=max(_LEVELS[level], logging.WARNING), force=True)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace values that could hold content or secrets by their length."""
    return {
        key: value if key == "event" else _redacted(key, value, 0) for key, value in event.items()
    }


def _redacted(key: str, value: Any, depth: int) -> Any:  # noqa: ANN401 - whatever was logged
    if _is_sensitive(key) and not isinstance(value, bool | int | float | None):
        return f"[redacted: {_length(value)}]"
    if isinstance(value, Mapping):
        if depth >= _MAX_DEPTH:
            return "[redacted: too deep]"
        return {name: _redacted(str(name), item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(key, item, depth + 1) for item in value]
    return value


def _is_sensitive(key: str) -> bool:
    name = key.lower().replace("-", "_")
    return name in _SENSITIVE or name.rsplit("_", 1)[-1] in _SENSITIVE


def _length(value: object) -> str:
    if isinstance(value, str):
        return f"{len(value)} chars"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return type(value).__name__


def _rendering(format: str) -> list[Processor]:
    # Neither shows local variables in tracebacks: those of the pipeline hold prompts.
    if format == "json":
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        return [
            structlog.processors.ExceptionRenderer(tracebacks),
            structlog.processors.JSONRenderer(),
        ]
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ]
