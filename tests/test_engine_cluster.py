"""Submissions are run by the workers of a Dask cluster, a real scheduler and two processes here; one that dies loses nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import miniclass
import pytest
from miniclass import cell_of, hand_in, solved, text, without
from test_engine_memory import gradebook_of

from dlcourse_utils.instructor import cli, grading
from dlcourse_utils.instructor.engine import cluster, execute

distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed: pip install 'dlcourse[cluster]'")


@contextlib.contextmanager
def process(*arguments, folder):
    """One of Dask's commands, ended with all that it started."""
    started = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "3", "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1s"},
        stdout=subprocess.DEVNULL,
        stderr=(folder / f"{len(os.listdir(folder))}.log").open("wb"),
    )
    try:
        yield started
    finally:
        started.terminate()
        started.wait(30)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """(address of a scheduler, its two workers' processes)."""
    folder = tmp_path_factory.mktemp("cluster")
    with contextlib.ExitStack() as stack:
        file = folder / "scheduler.json"
        command = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
        stack.enter_context(process(*command, folder=folder))
        until(file.is_file)
        address = json.loads(file.read_text())["address"]
        worker = ["distributed.cli.dask_worker", address, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        workers = [stack.enter_context(process(*worker, folder=folder)) for _ in range(2)]
        with distributed.Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield address, workers


def until(condition, seconds=60.0):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def runs_nothing(monkeypatch):
    """This process must not run a cell itself."""

    def fail(self, cells):
        raise AssertionError("a cell was run here")

    monkeypatch.setattr(execute.Execute, "_run_all", fail)


@pytest.fixture(scope="module")
def hall(tmp_path_factory):
    """A class of five."""
    classroom, lecture = miniclass.make(tmp_path_factory.mktemp("class"))
    hand_in(lecture, "ada", text(solved(lecture)))
    hand_in(lecture, "bela", without(solved(lecture), "mean"))
    hand_in(lecture, "cut", text(solved(lecture))[:100])
    for student, line in {"dies": "import os; os._exit(1)", "slow": "import time; time.sleep(3)"}.items():
        notebook = solved(lecture)
        cell_of(notebook, "mean").source += f"\n{line}"
        hand_in(lecture, student, text(notebook))
    return classroom, lecture


def test_cluster_gives_the_grades_and_this_process_runs_nothing(hall, scheduler, runs_nothing):
    classroom, lecture = hall
    grades = grading.grade_all(classroom, lecture, classroom.handed_in(lecture), scheduler=scheduler[0])
    assert {grade.student: grade.total for grade in grades} == {"ada": 7.0, "bela": 3.0, "cut": 0.0, "dies": 3.0, "slow": 7.0}
    assert "The kernel ended" in next(grade.note for grade in grades if grade.student == "dies")
    assert sorted(gradebook_of(classroom, lecture)) == ["ada", "bela", "cut", "dies", "slow"]


def test_worker_of_another_version_is_refused(scheduler, hall, monkeypatch):
    monkeypatch.setenv("DLCOURSE_SEED", "12")
    classroom, lecture = hall
    with pytest.raises(cluster.ClusterError, match=r"a worker of tcp://127\.0\.0\.1:\d+: it has another version"):
        grading.grade_all(classroom, lecture, ["ada"], force=True, scheduler=scheduler[0])


def test_submission_of_a_worker_that_dies_is_run_by_the_other(hall, scheduler, runs_nothing):
    classroom, lecture = hall
    address, workers = scheduler
    notebook = solved(lecture)
    cell_of(notebook, "mean").source += "\nimport time; time.sleep(2)"
    hand_in(lecture, "tried", text(notebook))
    with distributed.Client(address, set_as_default=False) as client, ThreadPoolExecutor(1) as pool:
        pids = client.run(os.getpid)
        graded = pool.submit(grading.grade_all, classroom, lecture, ["tried"], scheduler=address)
        until(lambda: any(client.processing().values()))
        (busy,) = [where for where, tasks in client.processing().items() if tasks]
        os.kill(pids[busy], signal.SIGKILL)
        (grade,) = graded.result()
        assert grade.total == 7.0
        assert list(client.nthreads()) == [where for where in pids if where != busy]
    assert [worker.wait(10) for worker in workers if worker.pid == pids[busy]] == [-signal.SIGKILL]


def test_address_where_no_scheduler_is_is_named_with_the_cure(hall, capsys, monkeypatch):
    monkeypatch.setattr(cluster, "_SECONDS_TO_CONNECT", 0.5)
    arguments = ["autograde", "01", "--course", str(hall[0].folder), "--sandbox", "off", "--scheduler", "tcp://127.0.0.1:1"]
    assert cli.main(arguments) == 2
    assert "tcp://127.0.0.1:1: no scheduler answers there" in capsys.readouterr().err
