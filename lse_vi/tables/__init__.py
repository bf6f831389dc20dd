"""Tables of users: named columns, groups, missing entries, and values on a grid as cells."""

from lse_vi.tables.table import Table

__all__ = ["Table"]
