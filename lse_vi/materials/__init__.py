"""Materials: stress from paths of strain, with memory or without: ``fit_memory``.

Begin with :mod:`~lse_vi.materials.elastic`, a material without memory. Then read
:mod:`~lse_vi.materials.memory`, whose internal states follow the path, and
:mod:`~lse_vi.materials.play`, which obeys the second law for all parameters. The parts of a memory
(rates, clocks, steppers, grids, invariants) have a file each.
"""

from lse_vi.materials.clocks import ArcLength, Clock, Time
from lse_vi.materials.elastic import Elastic, Response
from lse_vi.materials.fit import fit_memory
from lse_vi.materials.grids import EvenSteps, SampleSteps, Steps
from lse_vi.materials.invariants import Components, Invariants, Isotropic, TransverselyIsotropic
from lse_vi.materials.memory import Memory
from lse_vi.materials.play import Play
from lse_vi.materials.polish import polish_memory
from lse_vi.materials.rates import Rate, RelaxationRate
from lse_vi.materials.result import MemoryFit
from lse_vi.materials.steppers import Euler, Exponential, Heun, Stepper

__all__ = [
    "ArcLength",
    "Clock",
    "Components",
    "Elastic",
    "Euler",
    "EvenSteps",
    "Exponential",
    "Heun",
    "Invariants",
    "Isotropic",
    "Memory",
    "MemoryFit",
    "Play",
    "Rate",
    "RelaxationRate",
    "Response",
    "SampleSteps",
    "Stepper",
    "Steps",
    "Time",
    "TransverselyIsotropic",
    "fit_memory",
    "polish_memory",
]
