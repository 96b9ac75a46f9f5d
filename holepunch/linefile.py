"""
A small text file that a person may edit, too: read line by line, replaced whole or not at all.

Owns: the way to disk. The new text is complete and on the disk before it takes the old one's place;
a full disk leaves the old file as it was. Two programs that change the file in the same moment do
so one after the other. Permissions stay, and a symbolic link still leads to the file.
Knows nothing of: what the lines say.
Driven by: L{holepunch.peer.knownpeers}, L{holepunch.rendezvous.knownservices},
L{holepunch.rendezvous.passwords}, L{holepunch.rendezvous.nameowners}.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from holepunch.errors import CannotRead, CannotWrite, HolepunchError

_LARGEST = 16 * 1024 * 1024
_PRIVATE = 0o600


class LineFile:
    """
    A file of lines.

    @ivar path: Where it is.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def read(self) -> list[str]:
        """
        The lines; none where there is no file.

        @raise CannotRead: It cannot be read, or is no text.
        """
        try:
            with self.path.open("rb") as opened:
                data = opened.read(_LARGEST + 1)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CannotRead(f"cannot read {self.path}: {error.strerror}") from None
        except ValueError:
            raise CannotRead(f"{str(self.path)!r} cannot be the name of a file") from None
        if len(data) > _LARGEST:
            raise CannotRead(f"cannot read {self.path}: it is larger than 16 MiB")
        try:
            # Not splitlines(), which takes much else for the end of a line.
            lines = data.decode("utf-8").replace("\r\n", "\n").split("\n")
        except UnicodeDecodeError:
            raise CannotRead(f"cannot read {self.path}: it is no text in UTF-8") from None
        return lines if lines[-1] else lines[:-1]

    def change(self, edit: Callable[[list[str]], Sequence[str] | None]) -> None:
        """
        Replace the lines.

        @param edit: Gets the present lines, and gives the new ones, or C{None} to leave them alone.
            What it raises leaves the file alone, too.
        @raise CannotRead: The file cannot be read.
        @raise CannotWrite: It cannot be written; the old one stays whole.
        """
        try:
            # A link, perhaps to a file kept elsewhere, is to stay one.
            target = Path(os.path.realpath(self.path))
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _alone(target.parent):
                lines = edit(self.read())
                if lines is not None:
                    self._replace(target, "".join(f"{line}\n" for line in lines).encode("utf-8"))
        except OSError as error:
            raise CannotWrite(f"cannot write {self.path}: {error.strerror}") from None
        except HolepunchError:
            raise
        except ValueError as error:
            raise CannotWrite(f"cannot write {str(self.path)!r}: {error}") from None

    def _replace(self, target: Path, data: bytes) -> None:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
        try:
            with os.fdopen(handle, "wb") as opened:
                _keepPermissions(target, temporary)
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            os.replace(temporary, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        _flushFolder(target.parent)


def _keepPermissions(target: Path, temporary: str) -> None:
    try:
        old = target.stat()
    except FileNotFoundError:
        return
    if os.name == "posix":
        # The owner first: to change it takes special permissions away.
        with contextlib.suppress(PermissionError):
            os.chown(temporary, old.st_uid, old.st_gid)
        os.chmod(temporary, stat.S_IMODE(old.st_mode))


def _flushFolder(folder: Path) -> None:
    """
    Let the new name reach the disk, where the system can be asked for that.
    """
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):
                os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """
    Keep other programs from changing files of this kind in the folder.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    # The folder itself is locked, so that no lock file is left.
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Not every network file system has locks: then two changes in one moment may lose one.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
