"""`make interop`: the whole table."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time

from .campaign import campaign, table
from .node import NoNode, find_node
from .wires import WIRES


def main() -> int:
    parser = argparse.ArgumentParser(prog="interop", description="postoffice and real NestJS, on every transport")
    parser.add_argument("transports", nargs="*", metavar="transport", help=f"of {'; '.join(WIRES)}; default: all")
    chosen = parser.parse_args().transports or list(WIRES)
    if unknown := set(chosen) - set(WIRES):
        parser.error(f"no transport is called {', '.join(sorted(unknown))}; there are {', '.join(WIRES)}")
    logging.getLogger("postoffice").setLevel(logging.CRITICAL)  # the handlers that fail are meant to
    began = time.monotonic()
    try:
        node = find_node()
        print(f"NestJS 12.1.1 (and 11.2.6), {node.source}", flush=True)
        results = asyncio.run(campaign([WIRES[name] for name in chosen], node))
    except NoNode as error:
        print(f"interop cannot run: {error}", file=sys.stderr)
        return 2
    print(f"\n{table(results)}\n\n{len(results)} cases in {time.monotonic() - began:.0f} s")
    return any(one.verdict == "failed" for one in results)


if __name__ == "__main__":
    sys.exit(main())
