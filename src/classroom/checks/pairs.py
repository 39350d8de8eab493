"""Predictions that hold a pair for each case: a word, and how often something was done."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from classroom.checks.needs import need
from classroom.checks.result import Result

__all__ = ["pairs_of"]


def pairs_of(
    result: Result, prediction: Any, cases: Iterable[str], words: Collection[str], example: tuple[Any, Any]
) -> dict[str, tuple[Any, Any]]:
    """A learner's pairs, in the order of the cases. Raises Over, and says why, where they are not filled in.

    Args:
        words: those that the pair's text may be. example: a pair as it should be written; its text is the word.
    """
    text = "prediction has a word and a number for each case"
    cases = [*cases]
    whole = type(prediction) is dict and all(name in prediction for name in cases)
    need(result, text, whole, seen=f"{prediction!r:.80}", hint="keep the keys as the cell had them.")
    pairs = {name: prediction[name] for name in cases}
    wrong = [n for n, pair in pairs.items() if type(pair) not in (tuple, list) or len(pair) != 2 or ... in pair]
    hint = f"first guess, then look: replace each ... , as in {example!r}."
    need(result, text, not wrong, seen=f"still to do: {', '.join(wrong)}", hint=hint)
    place = 0 if isinstance(example[0], str) else 1
    odd = [f"{name}: {pair[place]!r}" for name, pair in pairs.items() if pair[place] not in words]
    need(result, text, not odd, seen="; ".join(odd[:1]), hint=f"the word is one of {', '.join(words)}.")
    return {name: (pair[0], pair[1]) for name, pair in pairs.items()}
