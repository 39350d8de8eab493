"""`classroom release LAB`: what students get of one lab, and a course for nbgrader, for those who use it.

classroom release 05                            released/lab-05/ and released/lab-05.zip, to hand out
classroom release 05 --nbgrader course          course/source, course/release, course/nbgrader_config.py, the gradebook
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from classroom.bootstrap import ROOT
from classroom.grading.bundle import ReleaseError, contents, notebooks_of, write
from classroom.grading.nbgrader_home import NbgraderError, nbgrader
from classroom.notebooks import NotebookError

__all__ = ["ASSIGNMENT", "main", "nbgrader_course"]

ASSIGNMENT = "lab-{}"
CONFIG_NAME = "nbgrader_config.py"
CONFIG = '''\
"""nbgrader's settings for labs of Dead Letter Office. Run nbgrader in this folder, by the nbgrader of `make nbgrader`.

Points that nbgrader gives itself (`nbgrader autograde`) are for honest work: a notebook can change what its own kernel
says. Marks that hold come from `classroom grade`; `classroom report DIR --nbgrader .` brings them in here.
"""

c = get_config()  # noqa: F821 - nbgrader's own

c.CourseDirectory.course_id = "dead-letter-office"

# source/ has the solutions; what is released is the lab that `make labs` gives, start lines included
c.GenerateAssignment.preprocessors = [
    "classroom.grading.nbgrader_steps.TakeOutAnswers",
    "nbgrader.preprocessors.LockCells",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.CheckCellMetadata",
    "nbgrader.preprocessors.ComputeChecksums",
    "nbgrader.preprocessors.SaveCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]

# a check that could not judge is left to you; nbgrader alone would give 0
c.Autograde.autograde_preprocessors = [
    "nbgrader.preprocessors.Execute",
    "nbgrader.preprocessors.IgnorePattern",
    "nbconvert.preprocessors.ClearMetadataPreprocessor",
    "nbgrader.preprocessors.LimitOutput",
    "classroom.grading.nbgrader_steps.SaveGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.OverwriteCells.add_missing_cells = True  # a check that was deleted is put back, and fails there

# a check starts services and kills them: it takes longer than the 30 seconds that nbgrader allows a cell
c.Execute.timeout = 240
c.Execute.iopub_timeout = 60
c.Execute.extra_arguments = ["--IPKernelApp.log_level=ERROR"]
'''


def nbgrader_course(lab: str, course: Path) -> str:
    """Add a lab to an nbgrader course, which is made where it is none yet; what nbgrader said of it.

    Raises:
        ReleaseError: there is no such lab, or the course has settings of its own that do not fit.
        NbgraderError: nbgrader is not set up, or refused.
    """
    solution, _ = notebooks_of(ROOT, lab)
    name = ASSIGNMENT.format(lab)
    course.mkdir(parents=True, exist_ok=True)
    config = course / CONFIG_NAME
    if config.exists() and "classroom.grading.nbgrader_steps" not in config.read_text(encoding="utf-8"):
        other = config.with_name("nbgrader_config.classroom.py")
        other.write_text(CONFIG, encoding="utf-8")
        raise ReleaseError(
            f"{config} is yours, and is left as it is. Add what {other.name} has beside it, then run this again."
        )
    if not config.exists():
        config.write_text(CONFIG, encoding="utf-8")
    source = course / "source" / name
    source.mkdir(parents=True, exist_ok=True)
    (source / solution.name).write_bytes(solution.read_bytes())
    return nbgrader("generate_assignment", name, "--force", course=course)


def main(argv: list[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="classroom release", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("lab", help='the lab\'s number, such as "05"')
    parser.add_argument("--out", type=Path, default=Path("released"), metavar="DIR", help="where bundles go")
    parser.add_argument("--nbgrader", type=Path, metavar="COURSE", help="add it to an nbgrader course instead")
    options = parser.parse_args(argv)
    try:
        if options.nbgrader:
            nbgrader_course(options.lab, options.nbgrader)
            name = ASSIGNMENT.format(options.lab)
            print(f"{options.nbgrader}: {name} is in source/ (with answers), release/ (for students) and the gradebook")
            return 0
        files = contents(ROOT, options.lab)
        folder = options.out / ASSIGNMENT.format(options.lab)
        archive = write(files, folder)
    except (ReleaseError, NotebookError, NbgraderError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    size = archive.stat().st_size / 1e6
    print(f"{archive}: {len(files)} files, {size:.1f} MB. No answer of the lab is in it.")
    print(f"{folder}: the same, unpacked. Try it as a student would: cd {folder} && make lab")
    return 0
