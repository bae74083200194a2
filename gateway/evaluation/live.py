"""A gateway that is running somewhere, evaluated from outside through the official client.

A text that it does not answer for a reason of its own is a missing answer, and the run
goes on. A gateway that is gone, or a key that it does not take, ends the run: thousands
of missing answers would say nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from classifiers.types import Source
from gateway.api.moderation_result import CATEGORIES
from gateway.evaluation.subjects import digest_of, with_any
from gateway.evaluation.types import ANY, DECISION, Answer, EvaluationError, Row

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.responses import ResponseInputParam

Told = tuple[dict[str, float | None], tuple[str, ...]]  # scores, reasons for what is missing

NOT_SENT = "not_sent"  # an end user cannot send such a text
NOT_SCORED = "not_scored"  # the reply has no scores
REFUSED = "refused"  # before the model was asked
TIMEOUT = "timeout"
UNAVAILABLE = "unavailable"
READY_S = 10  # seconds until the gateway must have said whether it is ready
_MODEL = "ostiary-moderation"
_CALL = "call_evaluated"


class GatewaySubject:
    """A live gateway, asked for moderation or through a model.

    Through a model it also answers for `decision`, and a tool's output can be put to it.
    Over HTTP nobody can tell a text that was held back for its score from one that was
    held back because a classifier was silent: both are 1.

    Args:
        url: Its base URL, with `/v1`.
        api_key: A key of it.
        parts: What determines its answers, as far as it tells.
        model: Ask this model through `/v1/responses`; None asks `/v1/moderations`.
        timeout_s: How long one request may take, seconds.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        parts: tuple[tuple[str, str], ...],
        model: str | None = None,
        timeout_s: float,
    ):
        from openai import AsyncOpenAI  # takes half a second to import

        self._client: AsyncOpenAI = AsyncOpenAI(base_url=url, api_key=api_key, timeout=timeout_s)
        self._model = model
        endpoint = "responses" if model else "moderations"
        self.name = f"{url.rstrip('/')}/{endpoint}"
        self.parts = (*parts, *(((f"model {model}", "not told"),) if model else ()))
        self.digest = digest_of(((self.name, ""), *self.parts))
        self._own = frozenset(CATEGORIES)
        self.categories = self._own | {ANY} | ({DECISION} if model else frozenset())

    async def ask(self, row: Row) -> Answer:
        """Send one request; the client retries what can be retried.

        Raises:
            EvaluationError: If the gateway is gone, or does not let us in.
        """
        if row.source is not Source.USER and not (self._model and row.source is Source.TOOL):
            return Answer(dict.fromkeys(self.categories), 0.0, (NOT_SENT,))
        started = perf_counter()
        asked = self._converse(row) if self._model else self._moderate(row)
        scores, errors = await self._told(asked)
        duration_ms = (perf_counter() - started) * 1000
        if errors == (REFUSED,):  # with an error, which has no scores
            errors = (NOT_SCORED,)
            if row.source is Source.USER:
                moderated, errors = await self._told(self._moderate(row))
                scores = {**moderated, DECISION: scores[DECISION]}
        return Answer(with_any(scores, self._own), duration_ms, errors)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _told(self, asked: Awaitable[Told]) -> Told:
        """Return what was told; a failure is told as missing scores, unless it is for good."""
        from openai import OpenAIError

        try:
            return await asked
        except UnicodeEncodeError:  # half a character, which JSON over HTTP cannot carry
            return dict.fromkeys(self.categories), (NOT_SENT,)
        except (OpenAIError, ValueError) as error:
            return dict.fromkeys(self.categories), (self._reason(error),)

    async def _moderate(self, row: Row) -> Told:
        made = await self._client.moderations.create(input=row.text, model=_MODEL)
        return _nonzero(made.results[0].category_scores.model_dump(by_alias=True)), ()

    async def _converse(self, row: Row) -> Told:
        """Return the scores of the prompt, and 1 for `decision` if anything was refused."""
        from openai import BadRequestError, PermissionDeniedError

        try:
            made = await self._client.responses.create(
                input=_input(row),
                model=self._model or "",
                extra_body={"moderation": {"model": _MODEL}},
            )
        except (BadRequestError, PermissionDeniedError) as error:
            if _refused(error.body):
                return {**dict.fromkeys(self._own), DECISION: 1.0}, (REFUSED,)
            raise
        said = made.model_dump(mode="json")
        reason = (said.get("incomplete_details") or {}).get("reason")
        held: dict[str, float | None] = {DECISION: 1.0} if reason == "content_filter" else {}
        side = (said.get("moderation") or {}).get("input") or {}
        if "category_scores" in side and row.source is Source.USER:
            return _nonzero(side["category_scores"]) | held, ()
        why = str(side.get("code") or NOT_SCORED)[:64]
        return {**dict.fromkeys(self._own), **held}, (why,)

    def _reason(self, error: Exception) -> str:
        """Return why there is no answer.

        Raises:
            EvaluationError: If there will be none to the next question either.
        """
        from openai import (
            APIConnectionError,
            APITimeoutError,
            AuthenticationError,
            NotFoundError,
            PermissionDeniedError,
        )

        if isinstance(error, APITimeoutError):
            return TIMEOUT
        if isinstance(error, APIConnectionError):
            raise EvaluationError(
                f"{self.name}: there is no answer any more; once there is, the same command goes on"
            ) from error
        if isinstance(error, AuthenticationError):
            raise EvaluationError(
                f"{self.name}: the key is not accepted; put one into OSTIARY_API_KEY"
            ) from error
        if isinstance(error, NotFoundError | PermissionDeniedError):
            said = error.body.get("message") if isinstance(error.body, dict) else None
            raise EvaluationError(f"{self.name}: {_one_line(said or error.message)}") from error
        code = getattr(error, "code", None)
        return code[:64] if isinstance(code, str) else UNAVAILABLE


async def find_gateway(
    url: str, api_key: str, *, model: str | None, timeout_s: float
) -> GatewaySubject:
    """Return the gateway at a base URL, named by the policy and classifiers it says it has.

    Raises:
        EvaluationError: If there is none, it is not ready, or there is no key for it.
    """
    root = url.rstrip("/").removesuffix("/v1")
    said = await _ready(root)
    try:
        policy = said["policy"]
        parts = [(f"policy {policy['id']} {policy['version']}", str(policy["digest"]))]
        parts += [(str(each["id"]), "not told") for each in said.get("classifiers", ())]
        failing = sorted(name for name, holds in said["checks"].items() if not holds)
    except (AttributeError, KeyError, TypeError) as error:
        raise EvaluationError(f"{root}: what answers /readyz there is no gateway") from error
    if failing:
        raise EvaluationError(f"{root}: the gateway is not ready: {', '.join(failing)}")
    if not api_key:  # or the client would take the one that is meant for OpenAI
        raise EvaluationError("a gateway is asked with a key: put one into OSTIARY_API_KEY")
    return GatewaySubject(
        f"{root}/v1", api_key, parts=tuple(parts), model=model, timeout_s=timeout_s
    )


async def _ready(root: str) -> Any:  # noqa: ANN401 - JSON from elsewhere
    import aiohttp

    try:
        timeout = aiohttp.ClientTimeout(total=READY_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{root}/readyz") as reply,
        ):
            return await reply.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise EvaluationError(f"{root}: there is no gateway that answers /readyz") from error


def _input(row: Row) -> ResponseInputParam | str:
    """Return a prompt, or a conversation in which a tool has just returned the text."""
    if row.source is Source.USER:
        return row.text
    return [
        {"role": "user", "content": row.prompt or "Go on."},
        {"type": "function_call", "call_id": _CALL, "name": "read", "arguments": "{}"},
        {"type": "function_call_output", "call_id": _CALL, "output": row.text},
    ]


def _nonzero(scores: dict[str, Any]) -> dict[str, float | None]:
    return {name: scores.get(name) for name in CATEGORIES if scores.get(name) != 0}


def _refused(body: object) -> bool:
    """Return whether an error is a decision: those have a stage, whatever their code."""
    return isinstance(body, dict) and bool(body.get("stage"))


def _one_line(message: object) -> str:
    return " ".join(str(message).split())[:200]
