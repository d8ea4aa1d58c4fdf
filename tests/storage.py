"""A disk that fails, or a process that dies, at the nth write, flush, rename, or change of a folder's names."""

import builtins
import errno
import io
import os

import pytest


class Died(BaseException):
    """As if the process had been killed: from here on nothing reaches the disk, whatever is still called."""


class Disk:
    """Counts what changes the files below a folder, and lets the nth change fail.

    Args:
        folder: whose files count.
        at: the change that fails, counted from 1; 0: none does.
        end: "full": there is no room for that one change; "died": nothing reaches the disk from there on.
    """

    def __init__(self, folder, at=0, end="full"):
        self.folder, self.at, self.end = os.path.realpath(folder), at, end
        self.changes, self.dead = [], False

    def __enter__(self):
        self._patch = pytest.MonkeyPatch()
        for module, name in ((builtins, "open"), (io, "open")):
            self._patch.setattr(module, name, self._opening(io.open))
        self._patch.setattr(os, "open", self._flags(os.open))
        for name in ("replace", "rename", "unlink", "remove", "mkdir", "rmdir", "truncate"):
            self._patch.setattr(os, name, self._naming(name, getattr(os, name)))
        for name in ("fsync", "write", "ftruncate"):
            self._patch.setattr(os, name, self._handling(name, getattr(os, name)))
        return self

    def __exit__(self, *error):
        self._patch.undo()

    def change(self, what, path):
        """One more change; whether it reaches the disk."""
        if self.dead:
            return False
        self.changes.append((what, os.path.relpath(path, self.folder)))
        if len(self.changes) == self.at:
            if self.end == "died":
                self.dead = True
                raise Died
            raise OSError(errno.ENOSPC, "No space left on device")
        return True

    def below(self, path):
        """Whether a path is that of a file that counts."""
        return isinstance(path, str | os.PathLike) and os.path.realpath(path).startswith(self.folder + os.sep)

    def _opening(self, real):
        def opened(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
            if not self.below(file) or not set(mode) & set("wxa+"):
                return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
            if not self.change("open", file):
                file, mode = os.devnull, mode.replace("x", "w")
            raw = Raw(file, mode.replace("b", "").replace("t", ""))
            raw.disk = self
            if "b" in mode:
                return raw if buffering == 0 else io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, newline)

        return opened

    def _flags(self, real):
        def opened(path, flags, *rest, **named):
            counts = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and self.below(path)
            return real(os.devnull if counts and not self.change("open", path) else path, flags, *rest, **named)

        return opened

    def _naming(self, what, real):
        def named(path, *rest, **options):
            if self.below(path) and not self.change(what, path):
                return None
            return real(path, *rest, **options)

        return named

    def _handling(self, what, real):
        def handled(handle, *rest):
            path = os.readlink(f"/proc/self/fd/{handle}")
            if path.startswith(self.folder) and not self.change(what, path):
                return len(rest[0]) if what == "write" else None
            return real(handle, *rest)

        return handled


class Raw(io.FileIO):
    """A file whose every write counts."""

    def write(self, data):
        if not self.disk.change("write", self.name):
            return len(data)
        return super().write(data)
