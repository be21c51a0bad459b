"""What nbgrader's Validate button needs to know on a student's machine."""

c = get_config()  # noqa: F821 - given by traitlets

c.CourseDirectory.course_id = "dlcourse"
c.Execute.timeout = 120  # seconds a cell; a training cell takes longer than nbgrader's 30 on a busy machine
