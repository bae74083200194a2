import pytest

from classifiers.types import Source
from gateway.evaluation.journal import Journal, key_of
from gateway.evaluation.types import Answer, EvaluationError, Row

ANSWER = Answer({"any": 0.25, "violence": None}, 1.5, ("timeout",))


def test_an_answer_is_there_the_next_time(tmp_path):
    path = tmp_path / "new" / "journal.jsonl"
    with Journal(path) as journal:
        journal.note("a", ANSWER)

    with Journal(path) as journal:
        assert journal.get("a") == ANSWER
        assert journal.get("b") is None


def test_an_answer_is_on_disk_before_the_next_question(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.note("a", ANSWER)

        assert path.read_bytes().endswith(b"}\n")


def test_a_later_answer_stands_for_an_earlier_one(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.note("a", ANSWER)
        journal.note("a", Answer({"any": 1.0}))

    with Journal(path) as journal:
        assert journal.get("a") == Answer({"any": 1.0})


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_line_that_was_cut_off_is_dropped_and_the_next_is_whole(tmp_path, cut):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.note("a", ANSWER)
        whole = path.stat().st_size
        journal.note("b", ANSWER)
    content = path.read_bytes()
    path.write_bytes(content[: min(whole + cut, len(content) - 1)])

    with Journal(path) as journal:
        assert journal.get("a") == ANSWER
        assert journal.get("b") is None
        journal.note("c", ANSWER)

    with Journal(path) as journal:
        assert len(journal) == 2


@pytest.mark.parametrize("line", [b"{}\n", b"not JSON\n", b"[]\n", b'{"key": "a", "scores": {}}\n'])
def test_a_file_that_is_no_journal_is_left_alone(tmp_path, line):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line)

    with pytest.raises(EvaluationError, match=":1: not a line of a journal"), Journal(path):
        pass
    assert path.read_bytes() == line


def test_no_text_is_in_a_journal(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.note(key_of("d", Row("a secret sentence", {})), ANSWER)

    assert b"secret" not in path.read_bytes()


def test_a_question_is_known_by_who_is_asked_and_all_of_what_is_judged():
    row = Row("text", {}, Source.FINAL, "prompt")
    keys = [
        key_of("d", row),
        key_of("e", row),
        key_of("d", Row("text", {}, Source.USER, "prompt")),
        key_of("d", Row("text", {}, Source.FINAL, "")),
        key_of("d", Row("prompt", {}, Source.FINAL, "text")),
        key_of("d", Row("t\0prompt", {}, Source.FINAL, "ext")),
        key_of("d", Row("prompt", {}, Source.FINAL, "ext\0t")),
        key_of("d", Row("\ud800", {}, Source.FINAL, "prompt")),
    ]

    assert len(set(keys)) == len(keys)
    assert keys[0] == key_of("d", Row("text", {"any": True}, Source.FINAL, "prompt", "kind", 7))


def test_two_runs_do_not_write_one_journal(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as first:
        with pytest.raises(EvaluationError, match="another run is writing it"), Journal(path):
            pass
        first.note("a", ANSWER)

    with Journal(path) as later:
        assert len(later) == 1
