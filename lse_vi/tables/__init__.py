"""Tables of users: named columns, groups and missing entries, and values on a grid that are cells."""

from lse_vi.tables.table import Table

__all__ = ["Table"]
