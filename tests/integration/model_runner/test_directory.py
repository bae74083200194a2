"""A gpt-oss directory, as `OSTIARY_MODEL=/path/to/gpt-oss-20b` serves it."""

from model_runner.local import load_local
from model_runner.tiny.load import load_tiny
from model_runner.types import Channel, Delta, Message, Prompt, Role, Sampling


async def test_a_directory_of_gpt_oss_weights_is_served_through_harmony(tmp_path):
    directory = tmp_path / "gpt-oss-saved"
    load_tiny().save_pretrained(directory)
    runner = load_local(str(directory), tmp_path / "cache")
    prompt = Prompt(
        "gpt-oss-saved",
        (Message(Role.USER, "How long does a refund take?"),),
        sampling=Sampling(temperature=0.0),
    )

    items = [item async for item in runner.generate(prompt)]
    await runner.aclose()

    assert runner.model == "gpt-oss-saved"
    said = "".join(d.text for d in items if isinstance(d, Delta) and d.channel is Channel.FINAL)
    assert said.startswith("Refunds reach the original payment method")
