"""The import of classroom is quick, and a notebook gets %%service by it."""

import subprocess
import sys

HEAVY = ["matplotlib", "testcontainers", "docker", "redis", "aio_pika", "nats", "ipywidgets", "pydantic", "fastapi"]
HEAVY_FOR_ALL = [*HEAVY, "IPython", "msgspec"]


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_import_loads_nothing_heavy():
    found = python(f"import classroom, sys; print([m for m in {HEAVY_FOR_ALL} if m in sys.modules])")
    assert found == "[]"


def test_services_and_measure_load_no_driver_and_no_matplotlib():
    code = "import classroom.services, sys; from classroom import measure\n"
    code += f"print([m for m in {HEAVY} if m in sys.modules])"
    assert python(code) == "[]"


def test_the_names_are_there():
    code = "import classroom; print([n for n in classroom.__all__ if not callable(getattr(classroom, n))])"
    assert python(code) == "['measure']"  # a module
    assert python("import classroom\ntry: classroom.nothing\nexcept AttributeError as e: print(e)").endswith(
        "'nothing'"
    )


def test_ipython_gets_the_magic():
    """In a shell it is there after any import of the package; twice is harmless."""
    code = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import classroom, importlib
first = shell.magics_manager.magics["cell"]["service"]
importlib.reload(classroom)
print(shell.magics_manager.magics["cell"]["service"] is first)
"""
    assert python(code) == "True"
