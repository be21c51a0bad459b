"""Archives that attack are left out, and the others are unpacked."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import miniclass
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nbgrader.apps.zipcollectapp import ZipCollectApp
from nbgrader.coursedir import CourseDirectory

from dlcourse_utils.instructor.assign import load_config
from dlcourse_utils.instructor.engine import archives
from dlcourse_utils.instructor.engine.archives import RefusedError, unpack


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def link(path):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return zipped(path, {info: "/etc/passwd"})


def tar(path, kind, name="x", target="/etc/passwd"):
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, target, 1 if kind == tarfile.REGTYPE else 0
        archive.addfile(info, io.BytesIO(b"1"))
    return path


ATTACKS = {
    "up.zip": (lambda path: zipped(path, {"../evil": "1"}), "the name '../evil' in it leads elsewhere"),
    "deep.zip": (lambda path: zipped(path, {"a/../../evil": "1"}), "leads elsewhere"),
    "root.zip": (lambda path: zipped(path, {"/evil": "1"}), "leads elsewhere"),
    "windows.zip": (lambda path: zipped(path, {"..\\evil": "1"}), "leads elsewhere"),
    "drive.zip": (lambda path: zipped(path, {"C:evil": "1"}), "leads elsewhere"),
    "link.zip": (link, "'link' in it is a link or a device"),
    "bomb.zip": (lambda path: zipped(path, {"zeros": bytes(5_000_000)}), "it holds more than 1 MB"),
    "many.zip": (lambda path: zipped(path, {f"{number}": "" for number in range(1001)}), "it holds more than 1000 files"),
    "twice.zip": (lambda path: zipped(path, {"a": "1", "a/b": "2"}), "it is damaged"),
    "cut.zip": (lambda path: path.write_bytes(zipped(path, {"a": "1"}).read_bytes()[:40]), "it is damaged"),
    "empty.zip": (lambda path: path.touch(), "it is damaged"),
    "link.tar.gz": (lambda path: tar(path, tarfile.SYMTYPE), "'x' in it is a link or a device"),
    "hard.tar.gz": (lambda path: tar(path, tarfile.LNKTYPE), "is a link or a device"),
    "pipe.tar.gz": (lambda path: tar(path, tarfile.FIFOTYPE), "is a link or a device"),
    "up.tar.gz": (lambda path: tar(path, tarfile.REGTYPE, name="../evil"), "leads elsewhere"),
}


@pytest.fixture
def small(monkeypatch):
    """A submission may have a megabyte."""
    monkeypatch.setattr(archives, "MOST_BYTES", 1_000_000)


@pytest.mark.parametrize("name", ATTACKS)
def test_archive_that_attacks_is_refused_and_nothing_is_written_outside(tmp_path, small, name):
    make, said = ATTACKS[name]
    make(tmp_path / name)
    (tmp_path / "folder").mkdir()
    with pytest.raises(RefusedError) as refused:
        unpack(tmp_path / name, tmp_path / "folder")
    assert said in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["folder", name])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=12))
def test_whatever_a_file_is_called_it_lands_below_the_folder_or_is_refused(tmp_path, name):
    folder = tmp_path / "a" / "b"
    with contextlib.suppress(RefusedError):
        assert folder in Path(os.path.normpath(archives._below(folder, name))).parents


def test_zip_collect_takes_the_good_and_leaves_out_the_bad(tmp_path, small):
    classroom, lecture = miniclass.make(tmp_path / "root")
    downloaded = classroom.folder / "downloaded" / lecture.name / "archive"
    downloaded.mkdir(parents=True)
    content = miniclass.text(miniclass.solved(lecture))
    zipped(downloaded / "ada.zip", {f"{lecture.name}.ipynb": content, "nested.zip": zipped(tmp_path / "n.zip", {"a": "1"}).read_bytes()})
    tar(downloaded / "cleo.tar.gz", tarfile.REGTYPE, name=f"{lecture.name}.ipynb")
    for name, (make, _) in ATTACKS.items():
        make(downloaded / name)
    (downloaded / "link.ipynb").symlink_to("/etc/passwd")
    config = load_config(classroom.root)
    config.CourseDirectory.root, config.CourseDirectory.assignment_id = str(classroom.folder), lecture.name
    config.FileNameCollectorPlugin.named_regexp = r".*/extracted/(?P<student_id>\w+)/(?P<file_id>[^/]+)"
    app = ZipCollectApp(config=config)
    app.coursedir = CourseDirectory(config=config)
    app.init_plugins()
    app.extract_archive_files()
    app.process_extracted_files()
    submitted = {str(path.relative_to(classroom.folder / "submitted")): path for path in (classroom.folder / "submitted").rglob("*.ipynb")}
    assert sorted(submitted) == [f"{student}/{lecture.name}/{lecture.name}.ipynb" for student in ("ada", "cleo")]
    assert submitted[f"ada/{lecture.name}/{lecture.name}.ipynb"].read_text() == content
    extracted = downloaded.with_name("extracted")
    assert sorted(path.name for path in extracted.iterdir()) == ["ada", "cleo"]
    assert (extracted / "ada" / "nested.zip").is_file(), "an archive in an archive stays one"
