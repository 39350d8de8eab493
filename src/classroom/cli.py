"""The command `classroom`: what a person types in a terminal beside the notebooks."""

from __future__ import annotations

import argparse
import sys


def doctor() -> int:
    """One table: each broker, what would serve it here, and the command that gets what is missing."""
    from classroom.doctor import main

    return main() or 0


def fetch() -> int:
    """Get the brokers that this machine lacks; says which could not be got and what needs them."""
    from classroom.brokers import fetch

    return fetch() or 0


def lab() -> int:
    """Open JupyterLab at the first notebook."""
    from classroom.lab import main

    return main()


COMMANDS = {"doctor": doctor, "fetch": fetch, "lab": lab}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code (2 for a command that does not exist)."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["notebooks"]:  # has options of its own
        from classroom.notebooks import main as notebooks

        return notebooks(arguments[1:]) or 0
    parser = argparse.ArgumentParser(
        prog="classroom", description="Dead Letter Office: the course's own commands."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.__doc__)
    commands.add_parser("notebooks", help="Generate labs, execute notebooks, refuse what is stale.")
    return COMMANDS[parser.parse_args(arguments).command]()


if __name__ == "__main__":
    sys.exit(main())
