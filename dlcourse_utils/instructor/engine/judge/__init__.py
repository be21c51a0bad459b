"""Tests judged in a process of their own, which the student's code does not control."""
