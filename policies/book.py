"""Everything that is in force at a moment: the policies and who is governed by which. Pure.

A book never changes. A gateway that reloads takes another one, and an exchange keeps what
it was given.

    INVARIANT: for every request there is at least one policy.
    INVARIANT: one more policy never makes a decision milder; only a policy that includes
    another one can replace what that says, and never what it has locked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from policies.attachments import Attachment, Attachments, Profile
from policies.mistakes import suggestion
from policies.terms import joined
from policies.types import Action, Band, Policy, PolicyException, Rule, Stage

Meaning = tuple[Rule, list[PolicyException]]  # what a rule says, and what is let off

NOBODY = ""  # a project, key or model that no file mentions


class BookError(ValueError):
    """These policies and attachments cannot be in force together; the message says why."""


class NotOffered(ValueError):
    """A caller chose a policy that is not offered to them."""


@dataclass(frozen=True, slots=True)
class Book:
    """What is in force.

    Attributes:
        policies: By id.
        attachments: Who is governed by which.
        digest: SHA-256 over all of it, hex; derived.

    Raises:
        BookError: If something is attached that is not there, or somebody would be
            governed by nothing.
    """

    policies: Mapping[str, Policy]
    attachments: Attachments = field(default_factory=Attachments)
    digest: str = field(init=False)
    _united: dict[tuple[str, ...], Policy] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Check that it can be in force."""
        digests = sorted(policy.digest for policy in self.policies.values())
        whole = "\n".join([self.attachments.digest, *digests])
        object.__setattr__(self, "digest", hashlib.sha256(whole.encode()).hexdigest())
        for attachment in self.attachments.all():
            for name in (*attachment.policies, *attachment.offers):
                if name not in self.policies:
                    hint = suggestion(name, self.policies)
                    raise BookError(f"`{name}` is attached and not in force{hint}")
        if not self._governing(self.attachments.of(NOBODY, NOBODY, NOBODY), ()):
            raise BookError("nothing governs a project that is not listed; say what `everyone` has")

    def governing(self, project: str, key: str, model: str, chosen: Sequence[str] = ()) -> Policy:
        """Return what governs a request: one policy, or several united.

        Args:
            project: Whose key it is.
            key: The key's public id.
            model: The model that is asked.
            chosen: What the caller wants on top.

        Raises:
            NotOffered: If `chosen` holds something that they may not choose.
        """
        attached = self.attachments.of(project, key, model)
        offered = {name for attachment in attached for name in attachment.offers}
        for name in chosen:
            if name not in offered:
                raise NotOffered(f"the policy `{name[:80]}` is not offered to this project")
        names = self._governing(attached, chosen)
        if names not in self._united:
            self._united[names] = unite([self.policies[name] for name in names])
        return self._united[names]

    def profile(self, project: str) -> Profile:
        """Return what the operator says of a project."""
        return self.attachments.profiles.get(project, Profile())

    def _governing(self, attached: Iterable[Attachment], chosen: Sequence[str]) -> tuple[str, ...]:
        mentioned = {
            name for each in self.attachments.all() for name in (*each.policies, *each.offers)
        }
        names = {name for name in self.policies if name not in mentioned}
        names.update(name for each in attached for name in each.policies)
        return tuple(sorted(names.union(chosen)))


def unite(policies: Sequence[Policy]) -> Policy:
    """Return one policy that asks for all that any of `policies` asks for.

    One that another one includes is left out, since that one speaks for it. If it is no
    longer the version that was included, its locked rules are added all the same.
    """
    spoken_for = {taken.id: taken.digest for policy in policies for taken in policy.includes}
    whole = [policy for policy in policies if policy.id not in spoken_for]
    stale = [
        _locked_part(policy)
        for policy in policies
        if policy.id in spoken_for and spoken_for[policy.id] != policy.digest
    ]
    parts = [*(whole or policies), *(policy for policy in stale if policy.rules)]
    return parts[0] if len(parts) == 1 else _united(parts)


def _locked_part(policy: Policy) -> Policy:
    return replace(policy, rules=tuple(rule for rule in policy.rules if rule.locked))


def _united(parts: Sequence[Policy]) -> Policy:
    rules, exceptions = _all_rules(parts)
    digests = "\n".join(part.digest for part in parts)
    return Policy(
        id="+".join(part.id for part in parts),
        version="+".join(part.version for part in parts),
        digest=hashlib.sha256(digests.encode()).hexdigest(),
        rules=rules,
        categories={name: each for part in parts for name, each in part.categories.items()},
        exceptions=exceptions,
        redactors={
            f"{part.id}:{name}": each for part in parts for name, each in part.redactors.items()
        },
        disclaimers={
            f"{part.id}:{name}": each for part in parts for name, each in part.disclaimers.items()
        },
        ladders=tuple(dict.fromkeys(ladder for part in parts for ladder in part.ladders)),
        includes=tuple(dict.fromkeys(taken for part in parts for taken in part.includes)),
        deadline_ms=max(part.deadline_ms for part in parts),
        terms=joined(*(part.terms for part in parts)),
        max_unscreened_chars=min(part.max_unscreened_chars for part in parts),
        judge_deadline_ms=max(part.judge_deadline_ms for part in parts),
        spools=all(part.spools for part in parts),
        on_unsupported_language={
            stage: max(part.on_unsupported_language.get(stage, Action.BLOCK) for part in parts)
            for stage in Stage
        },
    )


def _all_rules(
    parts: Sequence[Policy],
) -> tuple[tuple[Rule, ...], tuple[PolicyException, ...]]:
    """Return the rules of all parts and their exceptions, what means the same only once.

    Two policies may each have a rule by one name. What an exception of one of them says is
    not about the other's.
    """
    named = [
        (part.id, _qualified(rule, part), [own for own in part.exceptions if own.rule == rule.id])
        for part in parts
        for rule in part.rules
    ]
    meanings: dict[str, list[Meaning]] = {}
    for _, rule, own in named:
        if (rule, own) not in meanings.setdefault(rule.id, []):
            meanings[rule.id].append((rule, own))
    rules: dict[str, Rule] = {}
    exceptions: dict[tuple[str, str], PolicyException] = {}
    for part_id, rule, own in named:
        name = rule.id if len(meanings[rule.id]) == 1 else f"{part_id}:{rule.id}"
        rules[name] = replace(rule, id=name)
        exceptions.update({(name, each.id): replace(each, rule=name) for each in own})
    return tuple(rules.values()), tuple(exceptions.values())


def _qualified(rule: Rule, part: Policy) -> Rule:
    """Return the rule with redactors and disclaimers named as they are in the united policy."""
    if not any(band.redactor or band.disclaimer for band in rule.bands):
        return rule
    return replace(rule, bands=tuple(_qualified_band(band, part.id) for band in rule.bands))


def _qualified_band(band: Band, policy: str) -> Band:
    return replace(
        band,
        redactor=band.redactor and f"{policy}:{band.redactor}",
        disclaimer=band.disclaimer and f"{policy}:{band.disclaimer}",
    )
