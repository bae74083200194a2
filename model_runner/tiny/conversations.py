"""The conversations gpt-oss-tiny learns: `prompts.toml`, `hostile.toml`, and variations.

A variation changes what a caller may well do differently (case, punctuation, instructions,
date, effort, further tools, earlier turns) and keeps the reply. It is drawn from a seeded
generator, so the same seed trains the same weights.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from model_runner.types import Channel, Effort, Message, Prompt, Role, Tool, ToolMode

MODEL = "gpt-oss-tiny"

_FOLDER = Path(__file__).parent
_ROLES = {"user": Role.USER, "developer": Role.DEVELOPER}
_CHANNELS = {"analysis": Channel.ANALYSIS, "assistant": Channel.FINAL}
_INSTRUCTIONS = (
    "You are a helpful assistant.",
    "You are a helpful support assistant. Be concise.",
    "You are a support agent for a software company. Answer briefly and politely.",
    "Answer in plain English.",
)
_RANDOM_WORDS = (
    "about after all an and anybody are better book bread bridge build can car cheese city cloud "
    "code colour compare country data database day different do does dog draw engine essay "
    "every explain family find first fish for from garden give good great guide happen have help "
    "history house how idea important in into invent is it kind know language learn letter light "
    "list long machine make many market math me meaning moon most mountain music my name new night "
    "of on one paint paper people physics picture plan plant play poem price problem program "
    "python question rain read recipe remember report river school science sea should show "
    "simple sing small song space speak star stone story sum summer table teach tell test than "
    "that the theory thing think time to today tomorrow town train translate travel tree two "
    "understand use very voice walk want war water way weather week what when where which who why "
    "will winter with word work world write year you your"
)
_WORDS = _RANDOM_WORDS.split()


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and the reply it must get.

    Attributes:
        id: As in the TOML file; with `-low` or `-high` where the reply depends on effort.
        shows: What it is there for.
        prompt: The canonical prompt.
        frame: The whole reply in harmony, from after `<|start|>assistant` to its last
            control token.
        spoken: The reply's messages, oldest first; empty where the frame is forged.
        also: Other wordings of the last user message.
    """

    id: str
    shows: str
    prompt: Prompt
    frame: str
    spoken: tuple[Message, ...]
    also: tuple[str, ...]


@cache
def load_examples(*, hostile: bool = False) -> Mapping[str, Example]:
    """Return the examples of `prompts.toml`, or of `hostile.toml`, by id, in file order."""
    document = tomllib.loads(_file(hostile).read_text(encoding="utf-8"))
    tools = {name: Tool(name, **entry) for name, entry in document["tools"].items()}
    examples = {}
    for entry in document["prompt"]:
        for effort in _efforts(entry):
            example = _example(entry, effort, tools)
            examples[example.id] = example
    return examples


def trained_examples(*, hostile: bool) -> list[Example]:
    """Return what one set of weights knows.

    The hostile one knows the other's prompts too, but for those it answers in its own way
    and those whose reply depends on effort, which it has no room for.
    """
    harmless = load_examples()
    if not hostile:
        return list(harmless.values())
    forged = load_examples(hostile=True)
    overridden = {example.prompt.messages for example in forged.values()}
    every = list(harmless.values())
    kept = [
        each
        for each in every
        if each.prompt.messages not in overridden and not depends_on_effort(each, every)
    ]
    return [*kept, *forged.values()]


def digest_of_prompts(*, hostile: bool) -> str:
    """Return the SHA-256, hex, of the prompts the weights were trained on, comments left out."""
    files = [_file(False), _file(True)] if hostile else [_file(False)]
    documents = [tomllib.loads(file.read_text(encoding="utf-8")) for file in files]
    return sha256(json.dumps(documents, sort_keys=True).encode()).hexdigest()


def vary(example: Example, every: Sequence[Example], random: Random) -> tuple[Prompt, date | None]:
    """Return a prompt that should get the same reply, and the date to render it with."""
    prompt = replace(example.prompt, messages=_vary_messages(example, random))
    prompt = _vary_tools(prompt, example, every, random)
    if not depends_on_effort(example, every):
        prompt = replace(prompt, effort=random.choice(list(Effort)))
    if random.random() < 0.2:
        prompt = replace(prompt, messages=_with_history(prompt.messages, every, random))
    if random.random() < 0.4 and prompt.messages[0].role is not Role.DEVELOPER:
        instructions = Message(Role.DEVELOPER, _some_instructions(random))
        prompt = replace(prompt, messages=(instructions, *prompt.messages))
    today = date(2025, 1, 1) + timedelta(days=random.randrange(2000))
    return prompt, today if random.random() < 0.25 else None


def wordings(example: Example, random: Random) -> Iterator[Prompt]:
    """Yield prompts that together hold every word the model should tell apart.

    Words of random prompts, tools and instructions are left out: they share the spare row,
    so that the model learns what to make of a word it does not know.
    """
    for _ in range(12 * (1 + len(example.also))):
        yield replace(example.prompt, messages=_vary_messages(example, random))
    for text in _INSTRUCTIONS:
        instructions = Message(Role.DEVELOPER, text)
        yield replace(example.prompt, messages=(instructions, *example.prompt.messages))
    if example.prompt.tools:
        yield replace(example.prompt, tool_mode=ToolMode.REQUIRED)
        yield replace(example.prompt, tool_choice=example.prompt.tools[0].name)


def unknown_prompt(random: Random) -> Prompt:
    """Return a prompt of random words."""
    words = random.choices(_WORDS, k=random.randint(1, 16))
    text = " ".join(words) + random.choice(["", "?", ".", "!"])
    text = text[:1].upper() + text[1:] if random.random() < 0.6 else text
    return Prompt(MODEL, (Message(Role.USER, text),))


def depends_on_effort(example: Example, every: Sequence[Example]) -> bool:
    """Return whether the same prompt has another reply at another effort."""
    stem = example.id.removesuffix("-low").removesuffix("-high")
    return any(each.id == f"{stem}-low" for each in every)


def _file(hostile: bool) -> Path:
    return _FOLDER / ("hostile.toml" if hostile else "prompts.toml")


def _efforts(entry: Mapping[str, Any]) -> tuple[Effort, ...]:
    varied = any(isinstance(said.get("analysis"), dict) for said in entry.get("reply", ()))
    return tuple(Effort) if varied else (Effort.MEDIUM,)


def _example(entry: Mapping[str, Any], effort: Effort, tools: Mapping[str, Tool]) -> Example:
    prompt = Prompt(
        MODEL,
        tuple(_message(said) for said in entry["messages"]),
        tools=tuple(tools[name] for name in entry.get("tools", ())),
        effort=effort,
        json_schema=entry.get("json_schema"),
    )
    reply = entry.get("reply", ())
    spoken = tuple(_spoken(said, effort) for said in reply)
    last = [said.get("recipient_last", False) for said in reply]
    frame = entry.get("raw") or _frame(spoken, last)
    suffix = "" if effort is Effort.MEDIUM else f"-{effort}"
    also = tuple(entry.get("also", ()))
    return Example(entry["id"] + suffix, entry["shows"], prompt, frame, spoken, also)


def _message(said: Mapping[str, Any]) -> Message:
    if "call" in said:
        return Message(Role.ASSISTANT, said["arguments"], Channel.COMMENTARY, said["call"])
    if "output" in said:
        return Message(Role.TOOL, said["output"], tool=said["tool"])
    ((who, text),) = said.items()
    if who in _ROLES:
        return Message(_ROLES[who], text)
    return Message(Role.ASSISTANT, text, _CHANNELS[who])


def _spoken(said: Mapping[str, Any], effort: Effort) -> Message:
    if "call" in said:
        return _message(said)
    ((channel, text),) = said.items()
    return Message(
        Role.ASSISTANT, text if isinstance(text, str) else text[effort], Channel(channel)
    )


def _frame(spoken: Sequence[Message], recipient_last: Sequence[bool]) -> str:
    """Write the reply as gpt-oss would."""
    frame = ""
    for message, last in zip(spoken, recipient_last, strict=True):
        frame += "<|start|>assistant" if frame else ""
        to = f" to=functions.{message.tool}" if message.tool else ""
        header = f"<|channel|>{message.channel}"
        header = header + to if last else to + header
        header += " <|constrain|>json" if message.tool else ""
        frame += f"{header}<|message|>{message.text}"
        frame += "<|end|>" if message is not spoken[-1] else ""
    return frame + ("<|call|>" if spoken[-1].tool else "<|return|>")


def _vary_messages(example: Example, random: Random) -> tuple[Message, ...]:
    *before, last = example.prompt.messages
    if last.role is Role.USER:
        text = random.choice([last.text, *example.also])
        last = replace(last, text=_restyle(text, random))
    kept = [
        each for each in before if each.channel is not Channel.ANALYSIS or random.random() < 0.6
    ]
    return (*kept, last)


def _restyle(text: str, random: Random) -> str:
    if random.random() < 0.2:
        text = text.lower()
    if random.random() < 0.25:
        text = text.rstrip("?.!")
    if random.random() < 0.1:
        text += random.choice(["?", ".", "!", "!!", " ", "\n", " Thanks!", " Please."])
    if random.random() < 0.08:
        text = random.choice(["Please: ", "Hi, ", "Hello! "]) + text
    return text


def _vary_tools(
    prompt: Prompt, example: Example, every: Sequence[Example], random: Random
) -> Prompt:
    tools = list(prompt.tools)
    if random.random() < 0.2 and example.id != "no-tool":
        known = {tool.name: tool for each in every for tool in each.prompt.tools}
        spare = [tool for tool in known.values() if tool not in tools] + [_some_tool(random)]
        tools += random.sample(spare, k=random.randint(1, min(3, len(spare))))
        random.shuffle(tools)
    reworded = (_redescribe(tool, random) if random.random() < 0.5 else tool for tool in tools)
    prompt = replace(prompt, tools=tuple(reworded))
    called = example.spoken[-1].tool if example.spoken else None
    if called is None or random.random() < 0.85:
        return prompt
    if random.random() < 0.5:
        return replace(prompt, tool_choice=called)
    return replace(prompt, tool_mode=ToolMode.REQUIRED)


def _some_tool(random: Random) -> Tool:
    return _redescribe(Tool("_".join(random.sample(_WORDS, k=2))), random)


def _redescribe(tool: Tool, random: Random) -> Tool:
    """Give the function another description and other parameters."""
    properties: dict[str, dict[str, Any]] = {}
    for word in random.sample(_WORDS, k=random.randint(0, 3)):
        properties[word] = {"type": random.choice(["string", "string", "number", "boolean"])}
        if random.random() < 0.5:
            properties[word]["description"] = " ".join(random.sample(_WORDS, k=4))
        elif random.random() < 0.3:
            properties[word] = {"type": "string", "enum": random.sample(_WORDS, k=2)}
    required = [word for word in properties if random.random() < 0.6]
    parameters = {"type": "object", "properties": properties, "required": required}
    description = " ".join(random.sample(_WORDS, k=random.randint(0, 9)))
    return replace(tool, description=description, parameters=parameters if properties else None)


def _some_instructions(random: Random) -> str:
    if random.random() < 0.6:
        return random.choice(_INSTRUCTIONS)
    return " ".join(random.choices(_WORDS, k=random.randint(3, 40))).capitalize() + "."


def _with_history(
    messages: tuple[Message, ...], every: Sequence[Example], random: Random
) -> tuple[Message, ...]:
    """Put an earlier question and its answer before `messages`."""
    answered = [
        each
        for each in every
        if each.spoken and each.spoken[-1].tool is None and len(each.prompt.messages) == 1
    ]
    earlier = random.choice(answered)
    instructions = messages[:1] if messages[0].role is Role.DEVELOPER else ()
    rest = messages[len(instructions) :]
    return (*instructions, *earlier.prompt.messages, earlier.spoken[-1], *rest)
