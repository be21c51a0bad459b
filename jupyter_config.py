"""JupyterLab's settings for this course. ``make lab`` starts it with them; dlcourse_utils/instructor/lab.py adds the folders that a role needs."""

import os

c = get_config()

c.ServerApp.ip = "127.0.0.1"
c.ServerApp.allow_root = True  # containers; it listens on this machine alone, behind a token

instructor = os.environ.get("DLCOURSE_ROLE") == "instructor"
c.ServerApp.jpserver_extensions = {
    "nbgrader.server_extensions.validate_assignment": True,
    "nbgrader.server_extensions.assignment_list": True,
    "nbgrader.server_extensions.course_list": False,  # for those who teach several courses on one JupyterHub
    "nbgrader.server_extensions.formgrader": instructor,
}
c.LanguageServerManager.autodetect = False  # it would run npm, which writes into the user's home
