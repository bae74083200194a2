from classifiers.training.corpus import sampled, set_aside
from classifiers.training.example import Example

EXAMPLES = [
    Example(f"text {index} of {source}", source=source)
    for source in ("davidson", "authored/odd.codes", "authored/odd.gloom", "authored/plain.crime")
    for index in range(1000)
]


def test_a_sample_keeps_all_of_the_named_sources_and_topics_and_a_share_of_the_rest():
    kept = sampled(EXAMPLES, 0.3, ["davidson", "authored/odd"])
    sources = [example.source for example in kept]
    assert sources.count("davidson") == 1000
    assert sources.count("authored/odd.codes") == sources.count("authored/odd.gloom") == 1000
    assert 250 < sources.count("authored/plain.crime") < 350


def test_a_sample_of_everything_is_everything_and_of_nothing_nothing():
    assert sampled(EXAMPLES, 1.0, [""]) == EXAMPLES
    assert sampled(EXAMPLES, 0.0, [""]) == []


def test_what_is_sampled_has_nothing_to_do_with_what_is_set_aside():
    aside = [example for example in EXAMPLES if set_aside(example)]
    assert 0.2 < len(sampled(aside, 0.3, [])) / len(aside) < 0.4
