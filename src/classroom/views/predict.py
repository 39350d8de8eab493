"""Predict, run, explain: a guess is noted before a cell is run, and answered after it.

    prefetch = predict(
        "05.prefetch",
        "Two workers share ten jobs; the first job is slow. How many does the other one do?",
        {"a": "five", "b": "nine"},
        misconceptions={"a": "The broker does not count jobs out in turns; it fills each worker's prefetch window."},
    )
    ...                                 # the cells that show it
    prefetch.reveal("b")                # what it was, and what is behind the guess that was wrong

Nobody has to guess: unattended, the answer then goes through all guesses.
"""

from __future__ import annotations

from collections.abc import Mapping

from classroom import progress
from classroom.views.page import Choice, Page, Said
from classroom.views.view import Press, View, called

__all__ = ["Answer", "Prediction", "predict"]

_asked: dict[str, Prediction] = {}  # of this kernel, by id


def predict(
    ident: str, question: str, options: Mapping[str, str], *, misconceptions: Mapping[str, str] | None = None
) -> Prediction:
    """Ask for a guess. Asked again under the same `ident`, with the same options, the guess stays.

    Args:
        ident: lesson and name, "05.prefetch". options: the possible answers, by a letter or short word.
        misconceptions: for an option, the belief behind it, and why it is wrong.

    Raises ValueError where there are fewer than two options, or a misconception belongs to none.
    """
    asked = Prediction(ident, question, dict(options), dict(misconceptions or {}))
    before = _asked.get(ident)
    if before is not None and before.options == asked.options:
        asked.guessed = before.guessed
    _asked[ident] = asked
    return asked


class Prediction(View):
    """A question with its possible answers. `guess("a")` is what a click on a does; `reveal("b")` says what it was."""

    def __init__(self, ident: str, question: str, options: dict[str, str], misconceptions: dict[str, str]) -> None:
        super().__init__()
        if len(options) < 2:
            raise ValueError(f"a prediction needs two options at least; {ident!r} has {len(options)}")
        if unknown := misconceptions.keys() - options.keys():
            raise ValueError(f"{ident!r} has misconceptions for {sorted(unknown)}, and options {sorted(options)} only")
        self.name = f"prediction {ident}"
        self.ident, self.question, self.options, self.misconceptions = ident, question, options, misconceptions
        self.guessed: str | None = None
        self.settings = {"guess"}
        self.verbs = {"guess": self._press}

    def guess(self, option: str) -> None:
        """Note a guess; another one replaces it until the answer is shown. Raises ValueError for no such option."""
        if option not in self.options:
            raise ValueError(f"there is no option {option!r}; there are {', '.join(self.options)}")
        self.guessed = option
        progress.note("guess", self.ident, guess=option)

    def reveal(self, answer: str) -> Answer:
        """Show what it was: call it after the run that shows it. Raises ValueError for no such option."""
        if answer not in self.options:
            raise ValueError(f"there is no option {answer!r}; there are {', '.join(self.options)}")
        if self.guessed:
            progress.note("revealed", self.ident, right=self.guessed == answer)
        return Answer(self, answer)

    async def _press(self, press: Press) -> None:
        self.guess(press.arg)

    def page(self) -> Page:
        handle = called(self, "prediction")
        if self.guessed is None:
            status = f'Choose before you run what follows, or: {handle}.guess("{next(iter(self.options))}")'
        else:
            status = f"Noted: {self.guessed}. Run on, and see."
        return Page("Predict", status, [Choice("guess", self.question, self.options, self.guessed)])


class Answer:
    """What it was, and what is behind the guess that was wrong; without a guess, behind all of them."""

    def __init__(self, asked: Prediction, answer: str) -> None:
        self.asked, self.answer, self.guess = asked, answer, asked.guessed

    @property
    def right(self) -> bool | None:
        """Whether the guess was right; None where there was none."""
        return None if self.guess is None else self.guess == self.answer

    def _page(self) -> Page:
        asked, options = self.asked, self.asked.options
        status = f"it is {self.answer}: {options[self.answer]}"
        if self.guess is None:
            wrong = [one for one in asked.misconceptions if one != self.answer]
            return Page("Answer", status, [Said(f"Whoever says {one}: {asked.misconceptions[one]}") for one in wrong])
        said = f"✓ You said {self.guess}, and so it is."
        if not self.right:
            said = f"✕ You said {self.guess}: {options[self.guess]}. {asked.misconceptions.get(self.guess, '')}".strip()
        return Page("Answer", status, [Said(said)])

    def __repr__(self) -> str:
        return self._page().text()

    def _repr_html_(self) -> str:
        return f"<div>{self._page().html(live=False)}</div>"
