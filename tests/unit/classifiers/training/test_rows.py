import math

import pytest
import safetensors.torch
import torch
from tokenizers import Tokenizer

from classifiers.encoder_text import Kind, windows
from classifiers.encoder_weights import FOLDER, VOCABULARY
from classifiers.training.example import HEADS, Example
from classifiers.training.fit import Schedule, _places, average, fit, states_of
from classifiers.training.network import Lower, Upper, tiny_base
from classifiers.training.rows import Rows, rows_of

BENIGN = dict.fromkeys(HEADS, 0.0)
EXAMPLES = (
    Example("a short question", labels=BENIGN),
    Example("and so on " * 200, labels=BENIGN),
    Example("a long threat " * 200, labels={"any": 1.0}),
    Example("Sure.", Kind.REPLY, "may I?", {"any": 0.0}),
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(FOLDER / VOCABULARY))


@pytest.fixture(scope="module")
def rows(tokenizer):
    return rows_of(tokenizer, EXAMPLES, [1.0, 2.0, 3.0, 4.0])


def test_a_row_is_the_first_window_of_its_text(rows, tokenizer):
    shown = windows(tokenizer, Kind.REPLY, "Sure.", "may I?")[0]
    assert rows.ids[rows.starts[-2] :].tolist() == list(shown.ids)
    assert rows.leads[-1] == shown.lead
    assert rows.lengths[-1] == len(shown.ids)


def test_only_a_harmless_text_teaches_from_further_on(rows):
    assert rows.weights.tolist() == [1.0, 2.0, 2.0, 3.0, 4.0]
    later = rows.ids[rows.starts[2] : rows.starts[3]]
    first = rows.ids[rows.starts[1] : rows.starts[2]]
    assert later.tolist() != first.tolist()


def test_an_unknown_label_stays_unknown(rows):
    assert rows.labels[3, HEADS.index("any")] == 1.0
    assert math.isnan(rows.labels[3, HEADS.index("hate")])


def test_rows_come_back_from_their_file_as_they_were(rows, tmp_path):
    rows.save(tmp_path / "rows")
    back = Rows.load(tmp_path / "rows")
    for name in Rows.__slots__:
        assert torch.equal(getattr(back, name).nan_to_num(-1), getattr(rows, name).nan_to_num(-1))


def test_another_file_is_no_rows(tmp_path):
    safetensors.torch.save_file({"weights": torch.ones(1)}, tmp_path / "rows")
    with pytest.raises(KeyError):
        Rows.load(tmp_path / "rows")


def test_places_point_at_the_tokens_and_padding_repeats_the_last(rows):
    batch = torch.tensor([0, 4])
    places, mask = _places(rows, batch, "cpu")
    for row, index in enumerate(batch.tolist()):
        taught = rows.ids[rows.starts[index] : rows.starts[index + 1]]
        assert rows.ids[places[row]][mask[row].bool()].tolist() == taught.tolist()
        assert set(rows.ids[places[row]][~mask[row].bool()].tolist()) <= {taught[-1].item()}


def test_the_lower_part_reads_a_row_as_it_reads_it_alone(rows):
    bert = tiny_base()
    states = states_of(bert, rows, Schedule(bfloat16=False))
    begin, end = rows.starts[4], rows.starts[5]
    ids = rows.ids[begin:end].long()[None]
    segments = (torch.arange(ids.shape[1]) >= rows.leads[4]).long()[None]
    with torch.inference_mode():
        alone = Lower(bert).eval()(ids, segments, torch.ones_like(ids))[0]
    assert torch.allclose(states[begin:end].float(), alone, atol=0.02)


def test_runs_of_other_seeds_begin_at_one_head_so_that_their_mean_is_one(rows):
    bert = tiny_base()
    still = Schedule(
        rate=0.0, head_rate=0.0, passes=2, batch_tokens=600, bfloat16=False, dropout=False
    )
    states = states_of(bert, rows, still)
    first, second = (fit(bert, rows, states, seed, still) for seed in (0, 1))
    mean = average([first, second])
    assert all(torch.allclose(first[key], mean[key]) for key in first)


def test_what_is_taught_is_learned(rows):
    bert = tiny_base()
    schedule = Schedule(
        rate=0.02, head_rate=0.3, passes=12, batch_tokens=600, bfloat16=False, dropout=False
    )
    states = states_of(bert, rows, schedule)
    upper = Upper(bert)
    upper.load_state_dict(fit(bert, rows, states, 0, schedule))
    places, mask = _places(rows, torch.tensor([0, 3]), "cpu")
    with torch.inference_mode():
        harmless, harmful = upper.eval()(states[places].float(), mask)[:, HEADS.index("any")]
    assert harmful > harmless + 1
