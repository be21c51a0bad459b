"""Submissions that attack or stumble; see ``submissions``."""
