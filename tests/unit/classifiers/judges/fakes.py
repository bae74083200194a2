"""A language model that says what a test tells it."""

import asyncio
import inspect

from classifiers.judges.text_model import Answer, TextModelError


class FakeModel:
    """Says the next of `answers` for each question; the last one again and again.

    An answer is a text, an `Answer`, a reason code in a `TextModelError`, or a function of
    the question that returns one of these.
    """

    name = "fake"

    def __init__(self, *answers):
        self.answers = list(answers)
        self.questions = []
        self.running = self.most_running = 0
        self.closed = False

    async def generate(self, question):
        self.questions.append(question)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await asyncio.sleep(0)
            return await self._said(question)
        finally:
            self.running -= 1

    async def _said(self, question):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = answer(question)
            answer = await answer if inspect.isawaitable(answer) else answer
        if isinstance(answer, TextModelError):
            raise answer
        return answer if isinstance(answer, Answer) else Answer(answer)

    async def aclose(self):
        self.closed = True
