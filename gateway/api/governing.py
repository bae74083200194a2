"""Which policy governs a request, and what that policy may know about it.

The application says what only it can know: how old its end user is
(`x-ostiary-age-group`), which language they speak (`accept-language`), and which of the
policies that its project is offered it wants on top (`x-ostiary-policy`). What the operator
says of a project stands: nobody is older than that, and an access program has to have been
granted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from starlette.datastructures import Headers

from gateway.api.call import Call
from gateway.api.services import Services
from gateway.errors import AccessProgramUnavailable, BadRequest, PolicyNotOffered
from gateway.types import Principal
from policies.apply import apply
from policies.attachments import Profile
from policies.book import NotOffered
from policies.circumstances import AgeGroup, Circumstances
from policies.types import Policy

POLICY_HEADER = "x-ostiary-policy"
AGE_GROUP_HEADER = "x-ostiary-age-group"
STANDARD = "standard"  # the access program that everybody has

_MAX_CHOSEN = 20
_TAG = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,3}")


@dataclass(frozen=True, slots=True)
class Governed:
    """A request's policy, narrowed to it, and what it was narrowed by.

    Attributes:
        policy: The policy.
        circumstances: What it was narrowed by.
        retain: Whether content may be kept.
    """

    policy: Policy
    circumstances: Circumstances
    retain: bool


def govern(
    headers: Headers, services: Services, principal: Principal, given: Circumstances
) -> Governed:
    """Return what governs a request.

    Args:
        headers: The request's.
        services: Whose book is in force.
        principal: Whose key it is.
        given: What the request itself says; see `circumstances_of`.

    Raises:
        PolicyNotOffered: If the caller chose a policy that they may not choose.
        BadRequest: If a header says what there is not.
    """
    book = services.policies.book
    profile = book.profile(principal.project)
    known = replace(
        given,
        project=principal.project,
        tier=profile.tier,
        age_group=_age_group(headers, profile),
        locale=_locale(headers),
    )
    chosen = [name.strip() for name in headers.get(POLICY_HEADER, "").split(",") if name.strip()]
    if len(chosen) > _MAX_CHOSEN:
        raise BadRequest(f"`{POLICY_HEADER}` names more than {_MAX_CHOSEN} policies")
    try:
        whole = book.governing(principal.project, principal.key_id, given.model, chosen)
    except NotOffered as error:
        raise PolicyNotOffered(str(error)) from error
    return Governed(apply(whole, known, datetime.now(UTC)), known, profile.retain)


def circumstances_of(
    call: Call, endpoint: str, end_user: str | None, access: frozenset[str]
) -> Circumstances:
    """Return what a request to a model says of itself."""
    prompt = call.prompt
    return Circumstances(
        endpoint=endpoint,
        model=prompt.model,
        stream=call.stream,
        tools=tuple(tool.name for tool in prompt.tools),
        end_user=end_user,
        access=access,
    )


def access_of(asked: Mapping[str, str] | None, profile: Profile) -> frozenset[str]:
    """Return the access programs that are in force for a request.

    A grant names a domain (`cyber`), for all its programs, or one of them
    (`cyber:daybreak_blue`). Where a request does not say, what was granted is in force;
    `standard` does without.

    Raises:
        AccessProgramUnavailable: If it asks for a program that was not granted.
    """
    domains = {grant.partition(":")[0] for grant in profile.access}
    held = {*profile.access, *domains}
    for domain, program in (asked or {}).items():
        own = {grant for grant in held if grant.partition(":")[0] == domain}
        if program == STANDARD:
            held -= own
        elif not own & profile.access & {domain, f"{domain}:{program}"}:
            raise AccessProgramUnavailable(
                f"the access program `{domain[:40]}: {program[:40]}` is not available to this "
                "project",
                param=f"access_programs.{domain[:40]}",
            )
        else:
            held = (held - own) | {domain, f"{domain}:{program}"}
    return frozenset(held)


def _age_group(headers: Headers, profile: Profile) -> AgeGroup:
    said = headers.get(AGE_GROUP_HEADER)
    if said is not None and said not in set(AgeGroup):
        raise BadRequest(f"`{AGE_GROUP_HEADER}` must be one of {', '.join(AgeGroup)}")
    if said == AgeGroup.MINOR or (said is not None and profile.age_group is AgeGroup.UNKNOWN):
        return AgeGroup(said)
    return profile.age_group


def _locale(headers: Headers) -> str:
    """Return the first language that is asked for; nothing where that is not a tag."""
    first = headers.get("accept-language", "").partition(",")[0].partition(";")[0].strip()
    return first if _TAG.fullmatch(first) else ""
