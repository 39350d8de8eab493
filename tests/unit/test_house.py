"""The house: which package may import which, what an import costs, and that the files agree with each other."""

from __future__ import annotations

import ast
import json
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
DRIVERS = {"redis", "aio_pika", "aiormq", "pamqp", "nats", "aiomqtt", "paho", "aiokafka", "grpc", "pydantic", "yarl"}
DRIVERS |= {"opentelemetry"}  # tracing loads it when it is turned on
FILE_BUDGET = 300  # lines; a longer file does two things
IMPORT_RATIO = 4.0  # measured 2.5 to 2.8, asyncio and msgspec being 2 of them; redis would add 7, aio-pika 3


def run_python(code: str) -> str:
    """What a fresh interpreter prints for `code`."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def imports(path: Path) -> set[str]:
    """The top-level names that a file imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in names}


def tracked(*patterns: str) -> list[Path]:
    """The files that git knows, where this is a clone."""
    command = ["git", "-C", str(ROOT), "-c", f"safe.directory={ROOT}", "ls-files", "-z", *patterns]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no git clone, so what ships is not known")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_of_postoffice_imports_classroom():
    """One direction: classroom imports postoffice."""
    files = sorted(SRC.glob("postoffice/**/*.py"))
    assert len(files) > 5
    assert [str(file) for file in files if "classroom" in imports(file)] == []


def test_no_module_of_postoffice_loads_classroom():
    """The same at run time, where an import made by a string would show."""
    code = """
import importlib, json, pkgutil, sys, postoffice
names = [m.name for m in pkgutil.walk_packages(postoffice.__path__, "postoffice.") if "__main__" not in m.name]
for name in names:
    importlib.import_module(name)
print(json.dumps([names, sorted(m for m in sys.modules if m.partition(".")[0] == "classroom")]))
"""
    names, foreign = json.loads(run_python(code))
    assert len(names) > 5
    assert foreign == []


def test_importing_postoffice_loads_no_driver():
    """A driver is imported by its own transport, when first used."""
    loaded = json.loads(run_python("import json, sys, postoffice; print(json.dumps(sorted(sys.modules)))"))
    assert "msgspec" in loaded
    assert {name.partition(".")[0] for name in loaded} & DRIVERS == set()


def test_import_time_of_postoffice_is_small_beside_asyncio():
    """Held as a ratio in one run, since milliseconds differ from machine to machine."""
    code = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"

    def seconds(module: str) -> float:
        return float(run_python(code.format(module)))

    pairs = [(seconds("postoffice"), seconds("asyncio")) for _ in range(7)]
    ratio = min(ours for ours, _ in pairs) / min(theirs for _, theirs in pairs)
    assert ratio < IMPORT_RATIO, f"import postoffice takes {ratio:.2f} times as long as import asyncio"


def test_every_source_file_keeps_its_budget():
    """A file is read in one sitting."""
    sizes = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in SRC.rglob("*.py")}
    assert {name: size for name, size in sizes.items() if size > FILE_BUDGET} == {}


def test_environment_yml_has_the_pins_of_the_lock_file():
    """Two resolvers, one set of versions; `make pins` writes the file anew."""
    expected = runpy.run_path(str(ROOT / ".ci" / "pins.py"))["environment"]()
    assert (ROOT / "environment.yml").read_text() == expected, "run `make pins`"


def test_environment_yml_names_the_packages_of_the_course():
    """Read as conda reads it: the eight packages pinned, and the four brokers' servers."""
    *conda, last = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    locked = {
        package["name"]: package["version"] for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    }
    names = ["jupyterlab", "ipywidgets", "redis", "aio-pika", "nats-py", "matplotlib", "testcontainers", "nbval"]
    assert last["pip"][:8] == [f"{name}=={locked[name]}" for name in names]
    assert last["pip"][-1] == "-e ."
    assert {re.split("[>=]", name)[0] for name in conda} >= {
        "python", "redis-server", "nats-server", "rabbitmq-server", "mosquitto",
    }  # fmt: skip


def test_the_lock_file_is_of_this_pyproject():
    """Set-up installs what the lock file names and asks no further."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    locked = next(package for package in packages if package["name"] == project["name"])
    wanted = {
        re.split("[><=;~]", line)[0]: re.split("[a-z0-9-]+", line.partition(";")[0], maxsplit=1)[1]
        for line in project["dependencies"]
    }
    assert {entry["name"]: entry["specifier"] for entry in locked["metadata"]["requires-dist"]} == wanted


def test_nothing_that_ships_names_a_place_on_someones_machine():
    """Neither code nor a stored output."""
    place = re.compile(r"/(?:work|root|home|Users)/[\w.]+")
    temporary = re.compile(r"/tmp/[\w.]{3,}")  # in a stored output; code may name a folder inside a container
    found = {}
    for path in tracked(":!uv.lock", ":!tests/unit/test_house.py"):
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        names = place.findall(text) + (temporary.findall(text) if path.suffix == ".ipynb" else [])
        if names:
            found[str(path.relative_to(ROOT))] = names
    assert found == {}


def test_the_tests_of_a_group_stay_together(request: pytest.FixtureRequest):
    """Where several processes run the tests, each file's stay in one, since they share brokers."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("one process runs the tests")
    assert request.node.nodeid.endswith(f"@{Path(__file__).relative_to(ROOT)}")
