"""Unpack what students hand in as archives, for ``nbgrader zip_collect``, so that none can write elsewhere, fill the disk or stop the class."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from nbgrader.plugins import ExtractorPlugin

from dlcourse_utils.instructor.engine.reading import MOST_BYTES

#: No submission has more files.
_MOST_FILES = 1_000
_BLOCK = 1 << 20

#: A file in an archive: its name there, and how to open it.
_Member = tuple[str, Callable[[], IO[bytes]]]


class RefusedError(Exception):
    """An archive is not unpacked; the message says why."""


class SafeExtractor(ExtractorPlugin):
    """nbgrader's, save that it takes only files that belong below the archive's own folder, and not more than a submission may have.

    An archive that holds anything else is left out whole, with a line in the log; an archive in an archive stays one.
    """

    def extract(self, archive_path: str, extracted_path: str) -> None:
        """Unpack the archives below one folder into another, each into a folder of its name; other files are copied."""
        source = Path(archive_path)
        for place, _, names in os.walk(source):
            target = Path(extracted_path) / Path(place).relative_to(source)
            target.mkdir(parents=True, exist_ok=True)
            for path in sorted(Path(place, name) for name in names):
                if path.is_symlink() or not path.is_file():
                    self.log.error("%s: left out, for it is no file but a link, a pipe or a device.", path)
                elif path.suffix in self.zip_ext:
                    self._unpack(path, target / path.stem.removesuffix(".tar"))
                else:
                    shutil.copy(path, target)

    def _unpack(self, path: Path, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        try:
            unpack(path, folder)
        except RefusedError as refusal:
            shutil.rmtree(folder)
            self.log.error("%s: left out, for %s. Ask for the notebook itself.", path, refusal)


def unpack(path: Path, folder: Path) -> None:
    """Unpack a zip or tar archive into an existing folder.

    Raises:
        RefusedError: it is damaged, too large when unpacked, or holds a link, a device, or a name that leads out of the folder.
    """
    left = MOST_BYTES
    try:
        with closing(_members(path)) as members:
            for number, (name, opened) in enumerate(members):
                if number == _MOST_FILES:
                    raise RefusedError(f"it holds more than {_MOST_FILES} files")
                target = _below(folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened() as packed, target.open("xb") as file:
                    while block := packed.read(_BLOCK):  # what an archive says of its sizes need not be true
                        left -= len(block)
                        if left < 0:
                            raise RefusedError(f"it holds more than {MOST_BYTES // 10**6} MB")
                        file.write(block)
    except RefusedError:
        raise
    except Exception as error:  # there is no end to what a damaged archive makes zipfile, tarfile and what they unpack with raise
        raise RefusedError(f"it is damaged ({error})") from error


def _members(path: Path) -> Generator[_Member]:
    """The files of an archive; folders are made as files need them."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise RefusedError(f"'{info.filename}' in it is a link or a device")
                if not info.is_dir():
                    yield info.filename, partial(archive.open, info)
        return
    with tarfile.open(path) as tar:
        for member in tar:
            if not (member.isreg() or member.isdir()):
                raise RefusedError(f"'{member.name}' in it is a link or a device")
            if member.isreg():
                yield member.name, partial(_opened, tar, member)


def _opened(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    assert file is not None, "it is a regular file"
    return file


def _below(folder: Path, name: str) -> Path:
    pure = PurePosixPath(name.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or ":" in name or not pure.parts:
        raise RefusedError(f"the name '{name}' in it leads elsewhere")
    return folder.joinpath(*pure.parts)
