"""Collect from the exchange by its own clock, and only files.

A student's process writes the exchange's folder, the time in its name and ``timestamp.txt``, and can write anything there. When the folder last
changed is the file system's to say (its ctime, which no user can set). A link in it would be followed as the instructor.
"""

from __future__ import annotations

import datetime
import os
import shutil
from pathlib import Path
from typing import Any

from nbgrader.exchange.default import ExchangeCollect
from nbgrader.utils import ignore_patterns, parse_utc

from dlcourse_utils.instructor.engine.admit import STAMP, refused

#: How far a student's clock may be from the exchange's without a remark.
_TOLERANCE = datetime.timedelta(minutes=10)


class Collect(ExchangeCollect):
    """nbgrader's collect, save that a forged time, a link or a folder with a strange name is nobody else's trouble."""

    def _path_to_record(self, path: str) -> dict[str, Any]:
        name = os.path.basename(path)
        student = name.split(f"+{self.coursedir.assignment_id}+")[0]
        changed = datetime.datetime.fromtimestamp(os.stat(path).st_ctime, datetime.UTC)
        return {"username": student, "filename": name, "timestamp": changed.replace(tzinfo=None)}

    def do_copy(self, src: str, dest: str, log: Any = None) -> None:
        """Copy what is a file or a folder, and stamp it with the exchange's time."""
        unwanted = ignore_patterns(self.coursedir.ignore, self.coursedir.include, self.coursedir.max_file_size, self.log)
        try:
            shutil.copytree(src, dest, ignore=lambda folder, names: _no_files(folder, names) | set(unwanted(folder, names)))
        except shutil.Error as error:  # the rest is copied, and the next student is not to wait
            self.log.error("%s: some of it cannot be copied: %s", src, error)
        stamp, kept = Path(dest, STAMP), refused(Path(dest)) / STAMP
        kept.unlink(missing_ok=True)
        time = self._path_to_record(src)["timestamp"]
        if stamp.is_file() and not _about(stamp, time):
            kept.parent.mkdir(parents=True, exist_ok=True)
            stamp.rename(kept)
        stamp.unlink(missing_ok=True)
        stamp.write_text(f"{time:%Y-%m-%d %H:%M:%S.%f} UTC", encoding="utf-8")


def _no_files(folder: str, names: list[str]) -> set[str]:
    paths = [Path(folder, name) for name in names]
    return {path.name for path in paths if path.is_symlink() or not (path.is_file() or path.is_dir())}


def _about(stamp: Path, time: datetime.datetime) -> bool:
    try:
        said: datetime.datetime = parse_utc(stamp.read_text(encoding="utf-8").strip())
        return abs(said - time) < _TOLERANCE
    except (ValueError, OverflowError):
        return False
