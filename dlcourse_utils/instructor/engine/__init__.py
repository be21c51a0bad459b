"""The grading engine: what stands under nbgrader's autograde so that every student gets a fair grade, whatever was handed in.

``admit`` tidies a submission's folder, ``reading`` takes the cells out of whatever file lies there, ``rebuild`` puts the answers into the
released notebook, and ``execute`` runs that. ``course/nbgrader_config.py`` names them at nbgrader's own extension points, so that
``nbgrader autograde``, the formgrader's button and ``dlcourse autograde`` give the same scores.
"""
