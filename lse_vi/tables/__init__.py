"""Tables of users: DataFrames with named columns, groups and missing cells, as fits take them."""

from lse_vi.tables.table import Table

__all__ = ["Table"]
