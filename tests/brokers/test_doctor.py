"""The doctor: by a bare Python, before anything is set up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from classroom.brokers.catalogue import KINDS

DOCTOR = Path(__file__).parents[2] / "src" / "classroom" / "doctor.py"


def doctor(*, python: str = sys.executable, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it as a file, with no site-packages and no PYTHON* settings."""
    return subprocess.run(
        [python, "-I", "-S", "-B", str(DOCTOR)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def row(output: str, title: str) -> str:
    return next(line for line in output.splitlines() if line.startswith(title))


def test_every_broker_has_its_row():
    done = doctor()
    assert done.returncode in (0, 1), done.stderr
    for kind in KINDS.values():
        assert row(done.stdout, kind.title)


def test_an_address_in_the_environment():
    """Its row says where it comes from; the secret in it is not printed."""
    done = doctor(CLASSROOM_NATS_URL="nats://user:secret@127.0.0.1:4222")
    assert "the address in CLASSROOM_NATS_URL" in row(done.stdout, "NATS")
    assert "secret" not in done.stdout


def test_where_nothing_can_serve(tmp_path: Path):
    """One command, and an exit code."""
    (tmp_path / "conda").write_text("#!/bin/sh\n")
    (tmp_path / "conda").chmod(0o755)
    done = doctor(
        PATH=str(tmp_path), DOCKER_HOST="unix:///nowhere.sock", HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path)
    )
    if "nothing" not in row(done.stdout, "Mosquitto"):
        pytest.skip(f"Mosquitto is installed on this machine: {row(done.stdout, 'Mosquitto')}")
    assert done.returncode == 1
    assert "Mosquitto: this would get it: conda install --yes --channel conda-forge mosquitto" in done.stdout


def test_an_old_program_is_named(tmp_path: Path):
    (tmp_path / "nats-server").write_text("#!/bin/sh\necho nats-server: v2.1.9\n")
    (tmp_path / "nats-server").chmod(0o755)
    done = doctor(PATH=f"{tmp_path}:{os.environ['PATH']}", CLASSROOM_ENGINE="process")
    assert f"NATS: {tmp_path / 'nats-server'}: passed over, since it is 2.1.9" in done.stdout


def test_an_unknown_engine():
    done = doctor(CLASSROOM_ENGINE="podman")
    assert done.returncode == 2
    assert "CLASSROOM_ENGINE='podman' is no engine" in done.stderr


def test_an_older_python():
    """One clear line, and no traceback."""
    source = DOCTOR.read_text()
    code = (
        f"import sys; sys.version_info = (3, 9, 2); exec(compile({source!r}, 'doctor.py', 'exec'), {{'__name__': 'x'}})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("The course needs Python 3.11 or newer, and this is 3.9.2")
    assert len(done.stderr.splitlines()) == 1
