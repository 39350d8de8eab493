"""How a learner's `encode` and `Decoder` are asked for check 03.framing: the adapters, and what came of each piece."""

from __future__ import annotations

from typing import Any

from classroom.checks import trials
from classroom.checks.asking import ask
from classroom.checks.trials import value_of

__all__ = ["Seen", "fed_by", "made_by"]


def encoded(encode, texts):  # type: ignore[no-untyped-def]
    """An adapter: what `encode` makes of each text."""
    return [encode(text) for text in texts]


def fed(decoder, groups):  # type: ignore[no-untyped-def]
    """An adapter: each stream, a list of pieces, goes to a decoder of its own; what came of each piece.

    The streams of a group are fed together: each its first piece, then each its second, and so on. An answer that is a
    list of texts is one, any other is ["it returned", its repr]; an error ends the stream, and is ["it raised", its
    kind, its text].
    """
    ends: list[list[list[object]]] = []
    for streams in groups:
        group = [(decoder(), pieces, list[list[object]]()) for pieces in streams]
        for turn in range(max(map(len, streams))):
            for instance, pieces, seen in group:
                if turn >= len(pieces) or (seen and seen[-1][0] == "it raised"):
                    continue
                try:
                    texts = instance.feed(pieces[turn])
                    good = type(texts) is list and all(type(one) is str for one in texts)
                    seen.append(["texts", texts] if good else ["it returned", repr(texts)[:200], type(texts).__name__])
                except NotImplementedError:
                    raise
                except Exception as error:
                    seen.append(["it raised", type(error).__name__, f"{type(error).__name__}: {error}"[:200]])
        ends += [seen for _, _, seen in group]
    return ends


async def made_by(encode: Any, texts: list[str]) -> list[Any]:
    """What `encode` makes of some texts. Raises `trials.Unanswered`."""
    found = value_of(await ask(encode, texts, via=encoded, limit=trials.TRIAL_LIMIT))
    return found if type(found) is list and len(found) == len(texts) else [found] * len(texts)


class Seen:
    """What a decoder did with one stream, piece by piece, and what went wrong in the end ("" for nothing)."""

    def __init__(self, steps: Any) -> None:
        self.each: list[list[str]] = []
        self.wrong = self.kind = self.error = ""
        for step in steps if type(steps) is list else [steps]:
            match step:
                case ["texts", list(texts)] if all(type(text) is str for text in texts):
                    self.each.append(texts)
                    continue
                case ["it returned", str(text), str(kind)]:
                    self.kind, self.error, self.wrong = "it returned", kind, text
                case ["it raised", str(kind), str(text)]:
                    self.kind, self.error, self.wrong = "it raised", kind, text
                case _:
                    self.kind, self.wrong = "it returned", repr(step)[:200]
            break

    @property
    def texts(self) -> list[str]:
        """All of them, in order."""
        return [text for texts in self.each for text in texts]

    def __repr__(self) -> str:
        return self.wrong or repr(self.texts)


async def fed_by(decoder: Any, streams: list[list[bytes]], together: bool = False) -> list[Seen]:
    """What a decoder makes of some streams, one after the other or together. Raises `trials.Unanswered`."""
    groups = [streams] if together else [[one] for one in streams]
    found = value_of(await ask(decoder, groups, via=fed, limit=trials.TRIAL_LIMIT))
    whole = type(found) is list and len(found) == len(streams)
    return [Seen(one) for one in found] if whole else [Seen(found)] * len(streams)
