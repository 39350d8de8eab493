"""`make attacks`: every hostile and every odd submission is graded, and a table says what came of it.

    python -m grading --only "fork bomb" --odd --attacks

Exit code 0: nobody earned what was not worked for, nobody lost what was, and no harm was done.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from .attacks import ATTACKS
from .field import Outcome, field_of
from .odd import ODD


def right(outcome: Outcome, hostile: bool) -> bool:
    """Whether it came out as it should."""
    deserved = outcome.earned == 0 if hostile else bool(outcome.mark and outcome.mark.state == "passed")
    return deserved and outcome.clean


async def run(only: list[str], hostile: bool, odd: bool) -> list[tuple[Outcome, bool]]:
    """All that are wanted, one after the other."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        async with field_of(Path(folder)) as field:
            for cases, bad in ((ATTACKS if hostile else [], True), (ODD if odd else [], False)):
                for case in cases:
                    if only and not any(word in f"{case.task} {case.name}" for word in only):
                        continue
                    outcome = await field.grade(case)
                    found.append((outcome, bad))
                    print(f"{'ok   ' if right(outcome, bad) else 'WRONG'} {outcome.line()}", flush=True)
                    if not right(outcome, bad):
                        print(
                            outcome.submission.notes, *(outcome.mark.conditions if outcome.mark else ()), sep="\n      "
                        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="make attacks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="WORDS")
    parser.add_argument("--attacks", action="store_true", help="the hostile ones only")
    parser.add_argument("--odd", action="store_true", help="the odd ones only")
    options = parser.parse_args()
    both = options.attacks == options.odd
    found = asyncio.run(run(options.only, options.attacks or both, options.odd or both))
    hostile = [one for one, bad in found if bad]
    good = [one for one, bad in found if not bad]
    print(f"\n{len(hostile)} hostile: {sum(one.earned > 0 for one in hostile)} earned points")
    print(f"{len(good)} odd and right: {sum(not right(one, False) for one in good)} marked down")
    every = [one for one, _ in found]
    print(
        f"files changed {sum(len(one.changed) for one in every)}, processes left {sum(len(one.left) for one in every)},"
        f" secrets read {sum(one.leaked for one in every)}, packets out {sum(one.packets for one in every)},"
        f" longest {max((one.seconds for one in every), default=0):.0f} s"
    )
    return 0 if found and all(right(one, bad) for one, bad in found) else 1


if __name__ == "__main__":
    sys.exit(main())
