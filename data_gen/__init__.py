"""Generators of study data, each with the truth that it was made from.

Take one to try a method on data whose answer is known. `networks` describes reaction networks,
`gillespie` simulates any of them exactly, and `master_equation` gives the exact laws of those with
one species. Each system has a file of its own (`schlogl`, `wells`, `mechanochemistry`,
`elasticity`, `waddington`, `mixtures`), and declares what is known about it, potentials in the form
of `truth`. `arrays` has names for the array types of signatures.
"""

from data_gen import (
    elasticity,
    gillespie,
    master_equation,
    mechanochemistry,
    mixtures,
    networks,
    schlogl,
    truth,
    waddington,
    wells,
)

__all__ = [
    "elasticity",
    "gillespie",
    "master_equation",
    "mechanochemistry",
    "mixtures",
    "networks",
    "schlogl",
    "truth",
    "waddington",
    "wells",
]
