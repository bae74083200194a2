"""A function call: arguments are judged whole before they leave, outputs before they are read."""

from openai import OpenAI

client = OpenAI()
tools = [
    {
        "type": "function",
        "name": "get_weather",
        "description": "Get the current weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The city's name."}},
            "required": ["city"],
        },
    }
]
conversation = [{"role": "user", "content": "What is the weather in Paris?"}]

first = client.responses.create(
    model="gpt-oss-tiny",
    input=conversation,
    tools=tools,
    include=["reasoning.encrypted_content"],
)
call = next(item for item in first.output if item.type == "function_call")
print(f"the model calls {call.name} with {call.arguments}")

# The reasoning goes back with the call: gpt-oss needs its thought to go on with it.
conversation += first.output
conversation.append(
    {
        "type": "function_call_output",
        "call_id": call.call_id,
        "output": '{"temperature_c": 18, "sky": "clear"}',
    }
)
second = client.responses.create(model="gpt-oss-tiny", input=conversation, tools=tools)
print(second.output_text)
