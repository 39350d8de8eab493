"""The command `classroom`: what a person types in a terminal beside the notebooks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def doctor(options: list[str]) -> int:
    """One table: each broker, what would serve it here, and the command that gets what is missing."""
    from classroom.doctor import main

    return main(options) or 0


def fetch(names: list[str]) -> int:
    """Get the brokers that this machine lacks, or those that are named (`classroom fetch kafka`)."""
    from classroom.brokers import fetch

    try:
        return fetch(*names) or 0
    except ValueError as error:  # a name, or a setting, that does not exist
        print(error, file=sys.stderr)
        return 2


def lab(options: list[str]) -> int:
    """Open JupyterLab at the first notebook. Options after it go to JupyterLab."""
    from classroom.lab import main

    return main(options)


def notebooks(options: list[str]) -> int:
    """Generate labs, execute notebooks, refuse what is stale; has commands of its own."""
    from classroom.notebooks import main

    return main(options) or 0


def progress(options: list[str]) -> int:
    """The tasks of the labs: what is passed, what is open, how many minutes are left."""
    from classroom.tasks import main

    return main(options)


def try_(options: list[str]) -> int:
    """Run a lab from top to bottom in a fresh kernel, and show each check."""
    from classroom.tryout import main

    return main(options)


def grade(options: list[str]) -> int:
    """For instructors: mark a folder of submissions, each in a sandbox."""
    from classroom.grading.grade import main

    return main(options)


def release(options: list[str]) -> int:
    """For instructors: what students get of a lab, as a folder and a zip file, or as a course for nbgrader."""
    from classroom.grading.release import main

    return main(options)


def report(options: list[str]) -> int:
    """For instructors: feedback, gradebooks and a class report from what `classroom grade` found."""
    from classroom.grading.outputs import main

    return main(options)


INSTRUCTORS = {"grade": grade, "release": release, "report": report}  # students get no src/classroom/grading
COMMANDS = {"doctor": doctor, "fetch": fetch, "lab": lab, "notebooks": notebooks, "progress": progress, "try": try_}
if Path(__file__).with_name("grading").is_dir():
    COMMANDS |= INSTRUCTORS


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code (2 for a command that does not exist)."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and arguments[0] in COMMANDS:
        return COMMANDS[arguments[0]](arguments[1:])
    parser = argparse.ArgumentParser(prog="classroom", description="Dead Letter Office: the course's own commands.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.__doc__)
    parser.parse_args(arguments)  # help, or an error that names the commands
    return 2


if __name__ == "__main__":
    sys.exit(main())
