"""The command ``lse-vi``: from a file to a figure and a report.

Each command has a file with ``add``, which declares its options, and ``run``.
"""
