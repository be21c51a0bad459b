"""What nbgrader needs to release, collect, grade and feed back this course. Every command, button and test reads this one file.

It reads the course beside it; the environment variable DLCOURSE_COURSE names another folder of the same shape.
"""

import os
from pathlib import Path

from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
from nbgrader.preprocessors import GetGrades, IgnorePattern, LimitOutput

from dlcourse_utils.instructor.engine.admit import admit
from dlcourse_utils.instructor.engine.archives import SafeExtractor
from dlcourse_utils.instructor.engine.collect import Collect
from dlcourse_utils.instructor.engine.execute import Execute
from dlcourse_utils.instructor.engine.feedback import FeedbackExporter
from dlcourse_utils.instructor.preprocessors import AnyNotebook, HideTests, LatePenalties, Rebuild, SaveGrades

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
c.Execute.sandbox = os.environ.get("DLCOURSE_SANDBOX", "on")  # "off" only where every submission is trusted
c.Execute.judge = os.environ.get("DLCOURSE_JUDGE", "separate")  # "in-process": tests run in the kernel that the answers control
c.Execute.results = str(course / "autograded" / ".results")
c.Execute.shutdown_kernel = "immediate"
c.Execute.error_on_timeout = {
    "ename": "CellTimeoutError",
    "evalue": "This cell ran longer than it may.",
    "traceback": ["CellTimeoutError: This cell ran longer than it may. Look for a loop that does not end."],
}
c.Execute.extra_arguments = [
    "--HistoryManager.hist_file=:memory:",
    "--IPKernelApp.log_level=ERROR",
    "--IPKernelApp.exec_lines=get_ipython().ask_exit = lambda: None",  # a forgotten exit() ends nothing
]
c.LimitOutput.max_lines = 200

# How a submission is graded; see docs/grading.md.
c.ExchangeFactory.collect = Collect
c.ZipCollectApp.extractor_plugin = SafeExtractor
c.Exporter.optimistic_validation = True  # once a pass, not once a preprocessor
c.Autograde.pre_convert_hook = admit
c.Autograde.exporter_class = AnyNotebook
c.Autograde.sanitize_preprocessors = [Rebuild]
c.Autograde.autograde_preprocessors = [Execute, IgnorePattern, LimitOutput, SaveGrades, LatePenalties]
c.HTMLExporter.sanitize_html = True  # no student's HTML or script runs in feedback, nor in the formgrader
# A picture comes as HTML and as PNG: show the PNG, with its alt text, for of sanitised HTML the bare text is left.
c.NbConvertBase.display_data_priority = ["image/png", "image/jpeg", "text/html", "text/markdown", "text/latex", "text/plain"]
c.GenerateFeedback.exporter_class = FeedbackExporter
c.GenerateFeedback.preprocessors = [HideTests, GetGrades, CSSHTMLHeaderPreprocessor]
