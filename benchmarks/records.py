"""What a benchmark hands back and prints as its line of JSON: names with all that JSON can hold."""

from __future__ import annotations

from typing import Any

Record = dict[str, Any]  # a whole result, or a row of its table
