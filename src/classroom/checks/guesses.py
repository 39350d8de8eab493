"""A prediction, written down before, beside what then happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from classroom.checks.asking import not_plain
from classroom.checks.needs import need
from classroom.checks.result import Result

__all__ = ["compare", "need_answers"]

FORMS = {  # what is said to a guess of another type
    int: "the answer is a whole number, such as 5: no quotes, no brackets.",
    str: "the answer is one word in quotes.",
    list: 'the answer is a list of names, such as ["this", "that"], even if there is only one.',
}


def need_answers(result: Result, prediction: Any, questions: Mapping[str, str]) -> None:
    """The prediction is a dict with an answer to each question; told only where it is not. Raises Over then."""
    text, right = "prediction answers all questions", type(prediction) is dict
    need(result, text, right, seen=f"{prediction!r:.80}", hint="run the cell of the prediction again.")
    missing = [one for one in questions if one not in prediction]
    need(result, text, not missing, seen=f"missing: {', '.join(missing)}", hint="keep the keys as the cell had them.")
    unwritten = [one for one in questions if prediction[one] is ...]
    hint = "first guess, then look: replace each ... by a number or a word."
    need(result, text, not unwritten, seen=f"still ...: {', '.join(unwritten)}", hint=hint)


def compare(
    result: Result,
    prediction: Mapping[str, Any],
    happened: Mapping[str, Any],
    questions: Mapping[str, str],
    reasons: Mapping[str, Mapping[Any, str]],
    otherwise: str,
) -> None:
    """A condition for each question.

    Args:
        happened: name -> what was seen. A guess is right when its type and its value are the same.
        questions: name -> the question in words. reasons: name -> wrong guess -> why it is wrong; a list is looked up
            as its texts, joined by commas. otherwise: what is said to every other wrong guess of the right type.
    """
    for name, question in questions.items():
        guess, seen = prediction[name], happened[name]
        right = not not_plain(guess) and type(guess) is type(seen) and guess == seen
        key = ", ".join(map(str, guess)) if type(guess) is list else guess
        known = reasons[name].get(key) if type(key) in (bool, int, str) else None
        hint = known or otherwise if type(guess) is type(seen) else FORMS.get(type(seen), otherwise)
        expected = f"your guess: {guess!r:.80}"
        result.judge(f"{name}: {question}", right, expected=expected, seen=f"{seen!r}", hint=hint)
