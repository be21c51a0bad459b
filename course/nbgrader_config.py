"""What nbgrader needs to release, collect, grade and feed back this course. Every command, button and test reads this one file.

It reads the course beside it; the environment variable DLCOURSE_COURSE names another folder of the same shape.
"""

import os
from pathlib import Path

from nbconvert.preprocessors import ClearMetadataPreprocessor, CSSHTMLHeaderPreprocessor
from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    ClearOutput,
    Execute,
    GetGrades,
    IgnorePattern,
    LimitOutput,
    OverwriteKernelspec,
    SaveAutoGrades,
)

from dlcourse_utils.instructor.preprocessors import HideTests, RestoreCells, RunOnlyWhatIsGraded

c = get_config()

course = Path(os.environ.get("DLCOURSE_COURSE") or Path(__file__).parent).resolve()
c.CourseDirectory.root = str(course)
c.CourseDirectory.course_id = "dlcourse"
# Graders that run side by side wait for each other instead of giving up with "database is locked".
c.CourseDirectory.db_url = f"sqlite:///{(course / 'gradebook.db').as_posix()}?timeout=60"
# nbgrader copies whatever lies beside a source notebook to students and graders: our sources hold the answers, cases.py many more.
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback", "*.py"]

c.ClearSolutions.code_stub = {"python": 'raise NotImplementedError("Write your answer here, then delete this line.")'}
c.ClearSolutions.text_stub = "*Write your answer here, in place of this line.*"
c.ClearMarkScheme.enforce_metadata = False  # nbgrader expects schemes in task cells only; ours stand in the answer's own cell

c.Execute.timeout = 120  # seconds a cell
c.Execute.shutdown_kernel = "immediate"
c.Execute.error_on_timeout = {
    "ename": "CellTimeoutError",
    "evalue": "This cell ran longer than it may.",
    "traceback": ["CellTimeoutError: This cell ran longer than it may. Look for a loop that does not end."],
}
c.LimitOutput.max_lines = 200

c.Autograde.sanitize_preprocessors = [
    ClearOutput,
    OverwriteKernelspec,
    RestoreCells,  # in place of nbgrader's DeduplicateIds and OverwriteCells
    RunOnlyWhatIsGraded,  # once it is settled which cell is which
    CheckCellMetadata,
]
c.Autograde.autograde_preprocessors = [
    Execute,
    IgnorePattern,
    ClearMetadataPreprocessor,
    LimitOutput,
    SaveAutoGrades,
    AssignLatePenalties,
    CheckCellMetadata,
]
c.GenerateFeedback.preprocessors = [HideTests, GetGrades, CSSHTMLHeaderPreprocessor]
