"""What ``dlcourse bench scale`` says of a command: the CPU time and the memory of all that it started."""

from __future__ import annotations

import sys

import pytest

from dlcourse_utils.instructor.course import CourseError
from dlcourse_utils.instructor.engine import scale
from dlcourse_utils.instructor.engine.scale import Cost

BUSY = "import time\nkept = bytearray(200 * 2**20)\nkept[::4096] = b'1' * len(kept[::4096])\nwhile time.process_time() < 0.5: pass\ntime.sleep(0.5)"


def test_cpu_and_memory_of_what_a_command_starts_count(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "_SECONDS_BETWEEN_LOOKS", 0.1)
    command = [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"]
    cost = scale._cost(command, 3, tmp_path)
    assert cost.submissions == 3
    assert cost.cpu_s >= 0.5
    assert cost.wall_s >= 1.0
    assert 200 <= cost.memory_mb < 300


def test_command_that_fails_is_named_with_where_it_says_why(tmp_path):
    with pytest.raises(CourseError, match=r"grading 7 submissions ended with status 3; .*said\.txt says why"):
        scale._cost([sys.executable, "-c", "raise SystemExit(3)"], 7, tmp_path)


def test_cost_of_one_more_leaves_out_the_start():
    assert scale.each([Cost(2, 9.0, 10.0, 1.0), Cost(50, 9.0, 34.0, 1.0), Cost(1_000, 9.0, 509.0, 1.0)]) == {50: 0.5, 1_000: 0.5}
