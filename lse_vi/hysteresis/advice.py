"""Warnings: what is wrong with tests, or with what a fit made of them, in words for a tester."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from lse_vi.hysteresis.loops import loops, opening, turns
from lse_vi.hysteresis.records import Record
from lse_vi.hysteresis.result import HysteresisFit

# A loop is open if the area between its branches is this share of the ranges of strain and stress;
# noise of 1 % of the stress gives a tenth of it.
OPEN = 0.005
# The error of a model is far above the scatter of the data beyond this factor, if it is also more
# than this share of the stress: of 2,000 rows the scatter is known to 3 %.
ABOVE, VISIBLE = 1.3, 1e-3
WORSE = 1.3  # held-out error over fitted error beyond which tests disagree
ODD = 2.0  # error of one test over the median of all beyond which it is named
RATE_RANGE = 2.0  # of the rates of strain, below which they say nothing
RATE_ERROR = 0.5  # share of the error that follows the rate, at which it is told
CLEAR = 4.0  # standard errors
LOST = 0.01  # share of a state below which it has not moved
USED = 0.1  # of the largest strain, at which a test does not begin at rest


def about_tests(tests: list[Record]) -> list[str]:
    """What the tests show before any fit."""
    found = []
    strains = np.concatenate([t.strain for t in tests])
    span, height = float(np.ptp(strains)), float(np.ptp(np.concatenate([t.stress for t in tests])))
    found += [
        f"test {t.name} begins at a strain of {t.strain[0]:.3g}: the model takes it as loaded for "
        "the first time, straight from zero; keep the rows from the first loading on"
        for t in tests
        if abs(t.strain[0]) > USED * float(np.abs(strains).max())
    ]
    areas = [
        opening(t.strain, t.stress, loop) / (span * height)
        for t in tests
        for loop in loops(t.strain, span)
    ]
    if not areas:
        found.append(
            "no test turns back, so nothing tells how much of a loop is dissipated: k+ + k- and A "
            "rest on the first loading alone; test with unloading"
        )
    elif float(np.sum(areas)) < -OPEN * len(areas):
        found.append(
            "the loops run the wrong way round, as if they made energy: strain and stress are "
            "probably swapped, or the sign of one of them is"
        )
    return found


def about_fit(result: HysteresisFit) -> list[str]:
    """What a fit has not explained or not determined."""
    found = []
    height = float(np.ptp(np.concatenate([t.stress for t in result.tests])))
    far = result.rmse > ABOVE * result.scatter and result.rmse > VISIBLE * height
    if result.phases == 1 and far:
        found.append(
            "no transition was found, so the model has no memory and no loop; the error "
            f"{result.rmse:.3g} is not noise"
        )
    elif far:
        found.append(
            f"the error {result.rmse:.3g} is far above the scatter {result.scatter:.3g} of the "
            "data: the tests show something that the model lacks; see the residuals"
        )
    for t in result.transitions:
        if t.reach < LOST:
            found.append(f"the share of phase {t.phase} never moves")
        elif not t.complete:
            found.append(
                f"no loop completes the transition to phase {t.phase}: its strain, A and k+ + k- "
                "are known only from below, and predictions beyond the largest strain of the tests "
                "go on as before; test to larger strains"
            )
    if result.held_out_rmse > WORSE * result.rmse and result.held_out_rmse > VISIBLE * height:
        found.append(
            f"the error is {result.held_out_rmse:.3g} where a test was held out, but "
            f"{result.rmse:.3g} where it was fitted: the tests disagree, or are too few"
        )
    return found + _odd_tests(result, height) + _rates(result) + _left_out(result)


def _odd_tests(result: HysteresisFit, height: float) -> list[str]:
    errors = {
        test.name: float(np.sqrt(np.mean((fit - test.stress)[~out] ** 2)))
        for test, fit, out in zip(result.tests, result.fitted, result.left_out, strict=True)
    }
    usual = float(np.median(list(errors.values())))
    return [
        f"test {name} has an error of {error:.3g}, the others about {usual:.3g}: another material, "
        "another start, or a slipping gauge?"
        for name, error in errors.items()
        if error > ODD * usual and error > VISIBLE * height
    ]


def _rates(result: HysteresisFit) -> list[str]:
    """Whether errors follow the rate of loading: the model knows none."""
    span = float(np.ptp(np.concatenate([t.strain for t in result.tests])))
    rates, signed = [], []
    for test, fit in zip(result.tests, result.fitted, strict=True):
        if test.times is None:
            continue
        ends = turns(test.strain, span)
        for a, b in pairwise(ends):
            change = test.strain[b] - test.strain[a]
            rates.append(abs(change) / (test.times[b] - test.times[a]))
            # Friction that grows with the rate raises the stress of loading, lowers that of return.
            error = float(np.median((test.stress - fit)[a : b + 1]))
            signed.append(math.copysign(1.0, change) * error)
    if len(rates) < 6 or max(rates) < RATE_RANGE * min(rates):
        return []
    x, y = np.log(rates) - np.mean(np.log(rates)), np.asarray(signed)
    slope = float(x @ y / (x @ x))
    rest = y - y.mean() - slope * x
    error = math.sqrt(float(rest @ rest) / (len(x) - 2) / float(x @ x))
    effect = abs(slope) * float(np.ptp(x))
    if abs(slope) < CLEAR * error or effect < RATE_ERROR * result.rmse:
        return []
    return [
        f"loading rates disagree: from the slowest to the fastest branch the stress shifts by "
        f"{effect:.3g}, which the model, without a clock, cannot follow; fit the rates one by one"
    ]


def _left_out(result: HysteresisFit) -> list[str]:
    count = sum(int(out.sum()) for out in result.left_out)
    rows = sum(len(out) for out in result.left_out)
    if not count:
        return []
    return [f"{count} of {rows} rows stand alone, far from their neighbours, and were left out"]
