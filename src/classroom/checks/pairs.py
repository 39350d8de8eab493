"""Predictions that hold a pair for each case: a word, and how often something was done."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from classroom.checks.result import Result

__all__ = ["pairs_of"]


def pairs_of(
    result: Result, prediction: Any, cases: Iterable[str], words: Collection[str], example: tuple[Any, Any]
) -> dict[str, tuple[Any, Any]] | None:
    """A learner's pairs, in the order of the cases; None, and a condition that failed, where they are not filled in.

    Args:
        words: those that the pair's text may be. example: a pair as it should be written; its text is the word.
    """
    text = "prediction has a word and a number for each case"
    cases = [*cases]
    if type(prediction) is not dict or any(name not in prediction for name in cases):
        result.judge(text, False, seen=f"{prediction!r:.80}", hint="keep the keys as the cell had them.")
        return None
    pairs = {name: prediction[name] for name in cases}
    wrong = [n for n, pair in pairs.items() if type(pair) not in (tuple, list) or len(pair) != 2 or ... in pair]
    if wrong:
        hint = f"first guess, then look: replace each ... , as in {example!r}."
        result.judge(text, False, seen=f"still to do: {', '.join(wrong)}", hint=hint)
        return None
    place = 0 if isinstance(example[0], str) else 1
    if odd := [name for name, pair in pairs.items() if pair[place] not in words]:
        hint = f"the word is one of {', '.join(words)}."
        result.judge(text, False, seen=f"{odd[0]}: {pairs[odd[0]][place]!r}", hint=hint)
        return None
    return {name: (pair[0], pair[1]) for name, pair in pairs.items()}
