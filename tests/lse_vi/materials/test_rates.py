"""Rates of internal states."""

import torch

from lse_vi import TransverselyIsotropic
from lse_vi.materials.clocks import ArcLength

TIMES, PATHS, STATES = 9, 4, 3


def test_an_elastic_range_does_not_know_the_direction_of_the_path(strains, relaxing, plain):
    """At one strain and one set of states, both ways: a paper's rate differs, a range does not."""
    invariants, (strain, change) = TransverselyIsotropic(), strains(2, times=PATHS)
    h = torch.randn(PATHS, STATES)
    for model, same in ((relaxing(invariants), True), (plain(ArcLength()), False)):
        ways = [
            model.rate(h, model.rate.drive(model.rate.read(model.invariants, strain, way)))
            for way in (change, -change)
        ]
        assert torch.equal(*ways) == same
