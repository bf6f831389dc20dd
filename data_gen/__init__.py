"""Generators of study data, each with the truth that it was made from.

`networks` describes reaction networks, `gillespie` simulates any of them exactly, and
`master_equation` gives the exact laws of those with one species. Each system has a file of its own
(`schlogl`), and declares what is known about it in the form of `truth`.
"""

from data_gen import gillespie, master_equation, networks, schlogl, truth

__all__ = ["gillespie", "master_equation", "networks", "schlogl", "truth"]
