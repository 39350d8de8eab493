"""Writes environment.yml: Python and native brokers from conda-forge, every Python package pinned as in uv.lock.

Run by `make pins`, after each change of uv.lock; a test fails when it was forgotten.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from classroom.bootstrap import get_uv

ROOT = Path(__file__).resolve().parents[1]

# The packages that the course is about; the rest is what they need.
NAMED = ["jupyterlab", "ipywidgets", "redis", "aio-pika", "nats-py", "matplotlib", "testcontainers", "nbval"]

HEAD = """\
# Made by `make pins` from uv.lock: do not edit the pins by hand.
# For conda, mamba and Binder: Python and the brokers' own servers come from conda-forge, the rest by pip.
name: dead-letter-office
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.12
  - pip
  - redis-server>=7
  - nats-server>=2.10
  - rabbitmq-server>=4
  - mosquitto>=2  # conda-forge has it for Linux only; on macOS delete this line (`brew install mosquitto`)
  - pip:
      # the packages that the course is about
"""


def exported() -> dict[str, str]:
    """What uv.lock pins for a learner: the name of each package, and its line for pip."""
    command = [get_uv(), "export", "--frozen", "--offline", "--no-dev", "--group", "checks"]
    command += ["--no-hashes", "--no-emit-project", "--no-annotate", "--no-header", "--quiet"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.partition("==")[0]: line for line in lines}


def environment() -> str:
    """The text that environment.yml must have."""
    pins = exported()
    named = [pins.pop(name) for name in NAMED]
    lines = [*named, "# what they need, and what the course's own two packages need", *pins.values()]
    lines += ["# the course's own two packages", "-e ."]
    return HEAD + "".join(f'      - "{line}"\n' if line[0] != "#" else f"      {line}\n" for line in lines)


if __name__ == "__main__":
    (ROOT / "environment.yml").write_text(environment())
