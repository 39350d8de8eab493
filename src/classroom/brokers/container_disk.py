"""A small disk for a broker in a container: one that can be filled, and that outlives the broker's restarts."""

from __future__ import annotations

import contextlib
import io
import tarfile
from typing import Any

FILLER = "filler"  # the file that fills the disk
IDLE = ("sleep", "infinity")


class ContainerDisk:
    """A tmpfs of `size` bytes at `path`, an anonymous volume that a second, idle container holds.

    The engine empties a tmpfs when the last container that uses it stops: the holder keeps it over the broker's
    restarts. It bears the owner's label, and the volume is removed with it.
    """

    def __init__(self, client: Any, image: str, idle: tuple[str, ...], path: str, size: int, **options: Any) -> None:
        self.path, self.size = path, size
        self._holder = self._made(client, image, idle, options)

    def _made(self, client: Any, image: str, idle: tuple[str, ...], options: dict[str, Any]) -> Any:
        from docker.types import DriverConfig, Mount

        driver = DriverConfig("local", {"type": "tmpfs", "device": "tmpfs", "o": f"size={self.size},mode=1777"})
        mount = Mount(self.path, None, type="volume", driver_config=driver)
        program, *arguments = idle or IDLE
        return client.containers.create(image, arguments, entrypoint=program, mounts=[mount], init=True, **options)

    def start(self) -> str:
        """Make the disk; the id of the container that holds it. Raises what docker-py raises."""
        self._holder.start()
        return str(self._holder.id)

    def fill(self, spare: int) -> None:
        """Leave `spare` bytes free. Blocks for a moment."""
        import docker.errors

        if spare:  # never less, not for a moment: some servers crash on the first write that fails
            self._put(max(0, self._room() - spare))
            return
        with contextlib.suppress(docker.errors.APIError):  # "no space left on device": that is what it is for
            self._put(self.size)

    def free(self) -> None:
        """Free again what `fill` took. Harmless when that was nothing."""
        self._put(0)

    def remove(self) -> None:
        """Remove the disk, once the broker is gone. Twice is harmless."""
        import docker.errors

        with contextlib.suppress(docker.errors.NotFound):
            self._holder.remove(force=True, v=True)

    def _room(self) -> int:
        """Bytes that are free."""
        _, table = self._holder.exec_run(["df", "-P", "-k", self.path])
        return int(table.decode().splitlines()[-1].split()[3]) * 1024

    def _put(self, size: int) -> None:
        """A file of this many zeros, in the place of the one before; some images have no shell that could write it."""
        text = io.BytesIO()
        with tarfile.open(fileobj=text, mode="w") as archive:
            entry = tarfile.TarInfo(FILLER)
            entry.size = size
            archive.addfile(entry, io.BytesIO(bytes(size)))
        self._holder.put_archive(self.path, text.getvalue())
