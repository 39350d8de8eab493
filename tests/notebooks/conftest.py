"""Small courses to break: a folder with one lesson and one solution, both well kept."""

from __future__ import annotations

from pathlib import Path

import nbformat.v4
import pytest

from classroom import notebooks

SOLUTION = """# %% [markdown] id="opening"
# # A lab

# %% id="task" nbgrader={"grade": false, "grade_id": "task", "locked": false, "schema_version": 3, "solution": true, "task": false}
def double(n):
    ### BEGIN SOLUTION
    return 2 * n
    ### END SOLUTION

# %% id="use" tags=["raises-exception"]
print(double(21))
"""  # noqa: E501  (a cell's header is one line)


OPENING = """# # A lesson
#
# **You will see** numbers. **You need** 40 minutes, 300 MB of memory and no broker.
#
# **One question:** *what is next?*"""

GUESS = """guess_{n} = predict("01.guess-{n}", "Which?", {{"a": "1", "b": "2"}}, misconceptions={{"a": "No: 2."}})
guess_{n}"""

CLOSING = "\n#\n".join(
    [
        "# ## Words of this lesson",
        "# | word | meaning |\n# |---|---|\n" + "\n".join(f"# | word {n} | {n} |" for n in range(5)),
    ]
    + ["# ## Five questions"]
    + [f"# <details><summary>{n}. Why?</summary>\n# So.\n# </details>" for n in range(1, 6)]
    + ["# ## Where to go from here", "# - [Lesson 02](02-lesson.ipynb)"]
)


def lesson_text(pairs: int = 16) -> str:
    """A lesson that keeps every rule: `pairs` of one code cell and one text cell; it asks three times."""
    code = [f"x = {n}\nx" for n in range(pairs)]
    for n in range(3):
        code[2 * n] = GUESS.format(n=n)
        code[2 * n + 1] = f'guess_{n}.reveal("b")'
    cells = ['# %% [markdown] id="opening"\n' + OPENING]
    cells += [f'# %% id="step-{n}"\n{code[n]}\n\n# %% [markdown] id="word-{n}"\n# Why {n}.' for n in range(pairs)]
    return "\n\n".join([*cells, '# %% [markdown] id="closing"\n' + CLOSING]) + "\n"


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A course folder as `labs` and `run` leave it."""
    for name, text in (("notebooks/01-lesson", lesson_text()), ("solutions/01-lab", SOLUTION)):
        path = tmp_path / f"{name}.ipynb"
        notebook = notebooks.from_text(text)
        notebook.metadata["classroom"] = {"sources": notebooks.fingerprint(notebook)}
        notebooks.write(notebook, path)
    notebooks.make_labs(tmp_path)
    return tmp_path


@pytest.fixture
def edit(course: Path):
    """Change a notebook of the course by a function of its nbformat object, as a careless editor would."""

    def change(name: str, how) -> Path:
        path = course / name
        notebook = notebooks.read(path)
        how(notebook)
        path.write_text(nbformat.v4.writes(notebook), encoding="utf-8")
        return path

    return change
