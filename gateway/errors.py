"""Everything this service raises on purpose.

GatewayError
├── BadRequest              400  malformed, out of range, or not a thing we can do
│   ├── UnsupportedParameter 400  a known request field that this gateway does not offer
│   └── MethodNotAllowed    405  this path takes another method
├── Unauthenticated         401  no API key, an unknown, expired or revoked one
├── Forbidden               403  the key lacks the scope
│   ├── PolicyNotOffered     403  the caller chose a policy that the project is not offered
│   ├── AccessProgramUnavailable 403  an access program that was not granted
│   ├── ConversationStopped 403  it goes on with a conversation that was stopped
│   └── IdentifierBlocked   403  the end user is suspended or deactivated
├── NotFound                404  no such model or object
├── BodyTimeout             408  the body did not arrive in time
├── Conflict                409  the object's state does not allow it; asking again will not help
├── BodyTooLarge            413  the body is larger than `max_body_bytes`
├── UnsupportedEncoding     415  a compressed body, or one that is not JSON
├── RateLimited             429  over quota; carries `retry_after_s`
│   └── IdentifierThrottled 429  the end user is over what strikes have left of it
├── EngineFailed            502  the model answered garbage or broke off
├── Overloaded              503  no room for more work now
├── EngineUnavailable       503  the model cannot be reached
├── AuditUnavailable        503  the decision log cannot be written, so nothing may be served
├── StoreUnavailable        503  the database cannot be read
│   └── SchemaOutdated      503  only the owner of its tables may bring them up to date
└── EngineTimeout           504  the model did not answer in time

A blocked prompt is not an error. It is a `Decision`, and travels as a value.

Messages are for the caller: lower case, no final period, and never prompt text.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


class GatewayError(Exception):
    """Base class; `status`, `type` and `code` fill OpenAI's error object.

    Attributes:
        param: The request field at fault, or None.
        code: The machine-readable reason; a class has a default.
        retry_after_s: When to try again, seconds, or None.
        reason: Why, as a word for the record, where `code` does not say it all.
        headers: Further headers of the answer.
        details: Further keys of the error object.
    """

    status = 500
    type = "server_error"
    code: str | None = "internal_error"
    reason: str | None = None
    details: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__(message)
        self.param = param
        self.headers = headers or {}
        self.retry_after_s = retry_after_s
        if code is not None:
            self.code = code


class BadRequest(GatewayError):
    """The request is malformed or asks for something out of range."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class UnsupportedParameter(BadRequest):
    """A field of the hosted API that this gateway does not offer; refused by name."""

    code = "unsupported_parameter"


class MethodNotAllowed(BadRequest):
    """The path exists and takes another method."""

    status = 405


class Unauthenticated(GatewayError):
    """No API key, or one that is not in force. The message never says which."""

    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"


class Forbidden(GatewayError):
    """The key is in force but lacks the scope this needs."""

    status = 403
    type = "invalid_request_error"
    code = "insufficient_permissions"


class PolicyNotOffered(Forbidden):
    """The caller chose a policy that their project is not offered."""

    code = "policy_not_offered"


class AccessProgramUnavailable(Forbidden):
    """The request asks for an access program that its project was not granted."""

    code = "access_program_unavailable"


class IdentifierBlocked(Forbidden):
    """The end user is suspended or deactivated; nobody else of the project is affected."""

    code = "safety_identifier_blocked"

    def __init__(self, message: str, *, reason: str, retry_after_s: float | None = None):
        super().__init__(message, retry_after_s=retry_after_s)
        # A time to wait is told to people; clients are not to try again by themselves.
        self.headers = {"x-should-retry": "false"}
        self.reason = reason


class ConversationStopped(Forbidden):
    """The request goes on with a conversation that a rule of the policy stopped."""

    code = "misalignment_policy_violation"

    def __init__(self, message: str, *, reason: str, misalignment: Mapping[str, Any]):
        super().__init__(message)
        self.headers = {"x-should-retry": "false"}
        self.reason = reason
        self.details = {"misalignment": misalignment}


class NotFound(GatewayError):
    """No such model, or no such object in this project."""

    status = 404
    type = "invalid_request_error"
    code = "not_found"


class BodyTimeout(GatewayError):
    """The request body did not arrive in time."""

    status = 408
    type = "invalid_request_error"
    code = "body_timeout"


class Conflict(GatewayError):
    """The object is not in a state in which this can be done."""

    status = 409
    type = "invalid_request_error"
    code = "conflict"


class BodyTooLarge(GatewayError):
    """The request body is larger than this gateway reads."""

    status = 413
    type = "invalid_request_error"
    code = "body_too_large"


class UnsupportedEncoding(GatewayError):
    """The body is compressed, or its content type is not JSON."""

    status = 415
    type = "invalid_request_error"
    code = "unsupported_media_type"


class RateLimited(GatewayError):
    """Over quota; `retry_after_s` says when a request of this size would pass."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class IdentifierThrottled(RateLimited):
    """The end user is over what strikes have left of the key's quota for them."""

    code = "safety_identifier_throttled"
    reason = "throttle"


class EngineFailed(GatewayError):
    """The model answered something that cannot be judged, or broke off."""

    status = 502
    code = "engine_failed"


class Overloaded(GatewayError):
    """There is no room for more work at the moment."""

    status = 503
    code = "overloaded"


class EngineUnavailable(GatewayError):
    """The model cannot be reached."""

    status = 503
    code = "engine_unavailable"


class AuditUnavailable(GatewayError):
    """The decision log cannot be written, so nothing may be served."""

    status = 503
    code = "audit_unavailable"


class StoreUnavailable(GatewayError):
    """The database cannot be read."""

    status = 503
    code = "store_unavailable"


class SchemaOutdated(StoreUnavailable):
    """The tables are of another version, and only their owner may bring them up to date."""


class EngineTimeout(GatewayError):
    """The model did not answer in time."""

    status = 504
    code = "engine_timeout"
