import asyncio
import hashlib

import pytest

from gateway.evaluation.journal import Journal
from gateway.evaluation.labelled import Columns, labelled_set
from gateway.evaluation.run import Terms, evaluate_set
from gateway.evaluation.types import Answer, EvaluationError

CONTENT = "text,label,kind\n" + "".join(f"text {n},{n % 2},kind {n % 3}\n" for n in range(20))


class Counting:
    """Scores a text by its number, and counts how often it was asked."""

    name, categories, parts = "counting@1", frozenset({"any"}), ()

    def __init__(self, digest="d", fails_after=10_000):
        self.digest = digest
        self.asked = []
        self.fails_after = fails_after
        self.under_way = self.most_under_way = 0

    async def ask(self, row):
        if len(self.asked) >= self.fails_after:
            raise KeyboardInterrupt
        self.asked.append(row.text)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0.001 * (len(self.asked) % 3))
        self.under_way -= 1
        number = int(row.text.split()[1])
        if number == 13:
            return Answer({"any": None}, 1.0, ("timeout",))
        return Answer({"any": number / 100}, 1.0)

    async def aclose(self):
        pass


@pytest.fixture
def labelled(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(CONTENT)
    return labelled_set("mine", path, Columns())


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        yield journal


@pytest.mark.parametrize("concurrency", [1, 7])
async def test_answers_belong_to_their_rows(labelled, journal, concurrency):
    subject = Counting()

    found = await evaluate_set(labelled, [subject], journal, Terms(concurrency))

    [asked] = found.asked
    assert [fact.line for fact in found.facts] == list(range(2, 22))
    assert [a.scores["any"] for a in asked.answers if not a.errors] == [
        number / 100 for number in range(20) if number != 13
    ]
    assert asked.answers[13].scores == {"any": None}
    assert subject.most_under_way == concurrency


async def test_the_set_is_named_by_the_digest_of_its_file(labelled, journal):
    found = await evaluate_set(labelled, [Counting()], journal, Terms())

    assert found.sha256 == hashlib.sha256(CONTENT.encode()).hexdigest()


async def test_a_finished_run_asks_nobody(labelled, journal):
    first = await evaluate_set(labelled, [Counting()], journal, Terms())
    subject = Counting()

    again = await evaluate_set(labelled, [subject], journal, Terms())

    assert subject.asked == []
    assert again.asked[0].recalled == 20
    assert again.asked[0].answers == first.asked[0].answers


def test_a_run_that_was_stopped_goes_on_where_it_was(labelled, tmp_path):
    def evaluated(subject):
        async def run():
            with Journal(tmp_path / "journal.jsonl") as journal:
                return await evaluate_set(labelled, [subject], journal, Terms())

        return asyncio.run(run())

    stopped, resumed = Counting(fails_after=8), Counting()
    with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)):
        evaluated(stopped)
    found = evaluated(resumed)

    assert len(stopped.asked) == 8
    assert stopped.asked + resumed.asked == [f"text {number}" for number in range(20)]
    assert found.asked[0].recalled == 8


async def test_a_changed_subject_is_asked_anew(labelled, journal):
    await evaluate_set(labelled, [Counting("old")], journal, Terms())
    subject = Counting("new")

    await evaluate_set(labelled, [subject], journal, Terms())

    assert len(subject.asked) == 20


async def test_missing_answers_can_be_asked_for_again(labelled, journal):
    await evaluate_set(labelled, [Counting()], journal, Terms())
    subject = Counting()

    await evaluate_set(labelled, [subject], journal, Terms(retry_missing=True))

    assert subject.asked == ["text 13"]


async def test_a_limit_is_a_limit(labelled, journal):
    found = await evaluate_set(labelled, [Counting()], journal, Terms(limit=3))

    assert len(found.facts) == len(found.asked[0].answers) == 3


async def test_progress_is_told(labelled, journal):
    told = []

    await evaluate_set(
        labelled, [Counting()], journal, Terms(progress=lambda *said: told.append(said))
    )

    assert told[0] == ("mine: counting@1", 1, 20)
    assert told[-1] == ("mine: counting@1", 20, 20)


async def test_a_set_without_rows_is_refused(tmp_path, journal):
    path = tmp_path / "empty.csv"
    path.write_text("text,label\n")

    with pytest.raises(EvaluationError, match="there are no rows"):
        await evaluate_set(labelled_set("empty", path, Columns()), [], journal, Terms())


async def test_nothing_is_asked_about_a_set_that_cannot_be_read_to_its_end(tmp_path, journal):
    path = tmp_path / "bad.csv"
    path.write_text("text,label\na,1\nb,perhaps\n")
    subject = Counting()

    with pytest.raises(EvaluationError, match=":3: "):
        await evaluate_set(labelled_set("bad", path, Columns()), [subject], journal, Terms())

    assert subject.asked == []


async def test_no_text_is_kept(labelled, journal):
    found = await evaluate_set(labelled, [Counting()], journal, Terms())

    assert "text 7" not in repr(found)


class Leaving(Counting):
    """Is gone after a while."""

    async def ask(self, row):
        if len(self.asked) == 5:
            raise EvaluationError("gone")
        return await super().ask(row)


@pytest.mark.parametrize("concurrency", [1, 7])
async def test_who_is_gone_ends_the_run_with_its_own_words(labelled, journal, concurrency):
    with pytest.raises(EvaluationError, match=r"^gone$"):
        await evaluate_set(labelled, [Leaving()], journal, Terms(concurrency))

    assert 1 <= len(journal) <= 5
