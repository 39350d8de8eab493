"""A broker as a container, through testcontainers. Blocking calls to the engine run in threads."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from classroom.brokers.container_disk import ContainerDisk
from classroom.brokers.errors import BrokerError, PortTaken
from classroom.brokers.finding import Candidate
from classroom.brokers.ports import HOST, Ports
from classroom.supervisor import supervisor

OWNER = "dead-letter-office.owner"  # the label by which the keeper removes what a kernel leaves
END_LIMIT = 30  # seconds for a clean end
PORT_IN_USE = ("port is already allocated", "address already in use", "ports are not available")


class ContainerEngine:
    """Runs one broker in a container that is removed with the kernel.

    Args:
        candidate: what to run. ports: where. disk: bytes that its data may take, on a disk of its own; 0: no limit.
    """

    name = "container"

    def __init__(self, candidate: Candidate, ports: Ports, disk: int = 0) -> None:
        assert candidate.host is not None
        self.candidate = candidate
        self.disk: ContainerDisk | None = None
        self._ports, self._size = ports, disk
        self._address = candidate.host.address
        self._container: Any = None
        self._lock = threading.Lock()  # held while a thread creates: `remove` comes after it, or before
        self._removed = False

    async def create(self) -> None:
        """Start for the first time, with the image fetched if need be. Raises PortTaken, BrokerError."""
        supervisor().watch_containers(self._address)
        await asyncio.to_thread(self._create)

    def _create(self) -> None:
        with _explained():
            container = self._prepared()
            self._fetch(container)  # outside the lock: a removal need not wait for the network
            with self._lock:
                if not self._removed:
                    self._container = container
                    if self._size:
                        container.with_kwargs(**container._kwargs, volumes_from=[self._made_disk(container)])
                    container.start()

    def _made_disk(self, container: Any) -> str:
        kind = self.candidate.kind
        client = container.get_docker_client().client
        options = {"labels": container._kwargs["labels"], "network_mode": "none"}
        self.disk = ContainerDisk(client, kind.image, kind.idle, kind.data, self._size, **options)
        return self.disk.start()

    def _fetch(self, container: Any) -> None:
        """Get the image, unless it is here."""
        import docker.errors
        from docker.utils import parse_repository_tag

        client = container.get_docker_client().client
        try:
            client.images.get(container.image)
            return
        except docker.errors.ImageNotFound:
            print(f"fetching image {container.image} (once; it may take a minute)", flush=True)
        repository, tag = parse_repository_tag(container.image)
        try:
            for line in client.api.pull(repository, tag or "latest", stream=True, decode=True):
                if "error" in line:
                    raise BrokerError(f"the image {container.image} cannot be fetched: {line['error']}")
                if self._removed:  # an interrupted cell ends the download
                    return
        except (docker.errors.APIError, OSError) as error:
            raise BrokerError(f"the image {container.image} cannot be fetched: {_short(error)}") from error

    def _prepared(self) -> Any:
        """The container as it will be, not created yet."""
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        testcontainers_config.ryuk_disabled = True  # the keeper removes what is left, and needs no image for it
        kind = self.candidate.kind
        container = DockerContainer(
            kind.image,
            docker_client_kw={"environment": {"DOCKER_HOST": self._address}},
        )
        # a network, else testcontainers looks for that of the container that it believes to run in
        container.with_kwargs(labels={OWNER: supervisor().label}, network="bridge")
        container.ports[f"{kind.port}/tcp"] = (HOST, self._ports.server.number)  # type: ignore[assignment]
        environment = dict(kind.environment)
        if self._ports.linked and kind.direct_port:
            container.ports[f"{kind.direct_port}/tcp"] = (HOST, self._ports.direct.number)  # type: ignore[assignment]
            environment |= dict(kind.linked)
        if self._size:
            environment |= dict(kind.on_a_disk)
        numbers = {"{port}": self._ports.public.number, "{direct}": self._ports.direct.number}
        for name, number in numbers.items():
            environment = {key: value.replace(name, str(number)) for key, value in environment.items()}
        container.with_envs(**environment)
        if kind.command:
            container.with_command(list(kind.command))
        for path, text in kind.files:
            container.with_copy_into_container(text.encode(), path)
        return container

    @property
    def _wrapped(self) -> Any:
        """docker-py's container; None before there is one."""
        return self._container.get_wrapped_container() if self._container is not None else None

    async def start(self) -> None:
        """Start with the data that is there; the engine publishes the same port."""
        await asyncio.to_thread(self._call, "start")

    def _call(self, verb: str, **options: Any) -> None:
        with _explained():
            getattr(self._wrapped, verb)(**options)

    def alive(self) -> bool:
        import docker.errors

        if self._wrapped is None:
            return False
        with _explained():
            try:
                self._wrapped.reload()
            except docker.errors.NotFound:
                return False
        return str(self._wrapped.status) in ("running", "paused")

    def kill(self) -> None:
        self._call("kill")

    def pause(self) -> None:
        self._call("pause")

    def unpause(self) -> None:
        self._call("unpause")

    async def end(self) -> None:
        """Ask it to end, as the operator of a server would; the engine kills it when it takes too long."""
        await asyncio.to_thread(self._call, "stop", timeout=END_LIMIT)

    async def remove(self) -> None:
        """Leave nothing. Safe at any time; one that is being created is removed as soon as it exists."""
        self._removed = True
        await asyncio.to_thread(self._remove)

    def _remove(self) -> None:
        import docker.errors

        with self._lock:
            if self._container is None:
                return
            with _explained(), contextlib.suppress(docker.errors.NotFound):
                self._container.stop(force=True, delete_volume=True)  # this removes it
            self._container = None
            if self.disk is not None:
                self.disk.remove()

    async def control(self, argv: list[str]) -> str:
        """Run a program in the container. Raises BrokerError when it fails."""
        code, printed = await asyncio.to_thread(self._execute, argv)
        if code:
            raise BrokerError(f"{argv[0]} fails with exit code {code}: {printed.strip()[:1000]}")
        return printed

    def _execute(self, argv: list[str]) -> tuple[int, str]:
        with _explained():
            code, printed = self._wrapped.exec_run(argv)
        return int(code), printed.decode(errors="replace")

    def logs(self, lines: int) -> str:
        if self._wrapped is None:
            return ""
        with _explained():
            return str(self._wrapped.logs(tail=lines).decode(errors="replace").rstrip())


def pull(candidate: Candidate) -> None:
    """Get the image of a candidate, if it is not here; says so before it blocks. Raises BrokerError."""
    ports = Ports()
    engine = ContainerEngine(candidate, ports)
    try:
        with _explained():
            engine._fetch(engine._prepared())
    finally:
        ports.release()


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Errors of docker-py and requests (an OSError) as ours."""
    import docker.errors

    try:
        yield
    except (docker.errors.DockerException, OSError) as error:
        text = _short(error)
        kind = PortTaken if any(words in text.lower() for words in PORT_IN_USE) else BrokerError
        raise kind(f"the container engine says: {text}") from error


def _short(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error).strip().splitlines()[0]
