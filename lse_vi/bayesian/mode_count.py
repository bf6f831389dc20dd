"""How many modes do the data support, and how sure is that?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lse_vi.bayesian.fit import GUIDE_STEPS, Plan, check_modes, posterior_of
from lse_vi.bayesian.result import LEAST_SHOWN, DensityPosterior, probability_line
from lse_vi.checks import check_count
from lse_vi.coordinates.prior import Prior
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.report import page
from lse_vi.fitting.steps import Steps
from lse_vi.signatures.attributes import no_attribute
from lse_vi.signatures.checked import checked
from lse_vi.signatures.gradients import with_gradients
from lse_vi.tables.table import Table

# What other results have, and that of each number of modes.
OURS = {
    **dict.fromkeys(
        ("n_modes", "modes", "active_modes", "number"), "most_probable is the number of peaks"
    ),
    **dict.fromkeys(
        ("peaks", "peak_table", "evidence", "draws", "theta", "predictive", "model"),
        "the posterior of the most probable K has it: best",
    ),
    "mode_probabilities": "probabilities holds that of each number of peaks",
    **dict.fromkeys(("weights", "mode_weights", "mode_locations"), "see best.peak_table()"),
}
UNLIKELY = 7.0  # nats of log evidence below the best K: a thousandth of its probability


class ModeCount:
    r"""Posteriors for K = 1, 2, ... modes, weighed against each other.

    Use it for a density that does not depend on one choice of K; ``print`` it for a table.
    :func:`~lse_vi.count_modes` makes one.

    .. math::
        P(m \text{ peaks} \mid x) &= \sum_K P(K \mid x) \, P(m \text{ peaks} \mid K, x), \\
        P(K \mid x) &\propto p(x \mid K)

    A mode is a log-concave part of the density; two parts can share a peak. "How many modes" is
    answered by the number of peaks, whatever the number of parts. All K are equally probable a
    priori. As parts often share peaks, this makes few peaks more probable a priori than many: for
    K up to 5 in one dimension, one to four peaks have probabilities 0.46, 0.39, 0.13 and 0.02.

    Args:
        posteriors: by K, each with an evidence, as from :func:`~lse_vi.fit_posterior`.

    Attributes:
        posteriors: the posterior for each K.
        part_probabilities: P(K | x) by K.
        probabilities: P(m peaks | x) by m.

    Raises:
        ValueError: if there are none, or if one has no evidence, such as one by NUTS.

    Example:
        >>> from lse_vi import fit_posterior
        >>> options = {"draws": 50, "progress": False}
        >>> x = torch.randn(20)
        >>> count = ModeCount({k: fit_posterior(x, modes=k, **options) for k in (1, 2)})
        >>> count.density(x).shape[1], round(sum(count.probabilities.values()), 6)
        (20, 1.0)
    """

    @checked
    def __init__(self, posteriors: Mapping[int, DensityPosterior]) -> None:
        if not posteriors:
            raise ValueError("posteriors must hold one posterior or more, but got {}")
        self.posteriors = dict(posteriors)
        log_p = torch.tensor([_log_evidence(k, p) for k, p in self.posteriors.items()])
        weights = torch.softmax(log_p, 0).tolist()
        self.part_probabilities = dict(zip(self.posteriors, weights, strict=True))
        total: dict[int, float] = {}
        for k, weight in self.part_probabilities.items():
            for m, p in self.posteriors[k].mode_probabilities.items():
                total[m] = total.get(m, 0.0) + weight * p
        self.probabilities = dict(sorted(total.items()))

    def __getattr__(self, name: str) -> Any:
        raise no_attribute(self, name, OURS)

    @property
    def most_probable(self) -> int:
        """The most probable number of peaks."""
        return max(self.probabilities, key=lambda m: self.probabilities[m])

    @property
    def best(self) -> DensityPosterior:
        """The posterior of the most probable number of parts K."""
        return self.posteriors[max(self.posteriors, key=lambda k: self.part_probabilities[k])]

    @checked
    def density(self, x: Any, *, draws: int = 1000) -> Tensor:
        """q(x) of draws from all K, in proportion to P(K | x): (about ``draws``, n).

        There are fewer rows if some posterior holds fewer draws than its share of ``draws``.

        Args:
            x: points (n, dim) or (n,).
            draws: number of draws from all K together.
        """
        parts = self._share(draws)
        return torch.cat([self.posteriors[k].density(x)[:count] for k, count in parts.items()])

    @checked
    def cdf(self, x: Any, *, draws: int = 1000) -> Tensor:
        """The cumulative distribution of the draws of :meth:`density`, in one dimension."""
        parts = self._share(draws)
        return torch.cat([self.posteriors[k].cdf(x)[:count] for k, count in parts.items()])

    def __str__(self) -> str:
        lines = [probability_line(self.probabilities), "  K  P(K | x)  log evidence"]
        for k, posterior in self.posteriors.items():
            e = posterior.evidence
            assert e is not None
            lines.append(
                f"{k:3d}{self.part_probabilities[k]:10.3f}{e.log_evidence:9.2f} +- {e.error:4.2f}"
                + ("" if e.k_hat is None else f", k-hat {e.k_hat:.2f}")
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """What a notebook shows: the probability of each number of peaks, and where they are."""
        number = self.most_probable
        rows = [[str(m), f"{p:.1%}"] for m, p in self.probabilities.items() if p >= LEAST_SHOWN]
        title = f"most probably {number} peak{'s' * (number != 1)}"
        return page(title, ["peaks", "probability"], rows)

    def _share(self, draws: int) -> dict[int, int]:
        """How many of ``draws`` each K gives, by K."""
        check_count("draws", draws)
        # If a posterior holds too few draws, all shares shrink by one factor: the proportions must
        # stay those of P(K | x).
        limits = [
            len(self.posteriors[k].draws) / p for k, p in self.part_probabilities.items() if p
        ]
        total = min(draws, *limits)
        counts = {k: round(p * total) for k, p in self.part_probabilities.items()}
        return {k: count for k, count in counts.items() if count}


@checked
@with_gradients()
def count_modes(
    x: Any,
    *,
    value: str | Sequence[str] | None = None,
    weights: Any = None,
    modes: int = 5,
    bounds: Any = None,
    hidden: Sequence[int] | None = None,
    prior: Prior | None = None,
    guide: str | None = None,
    draws: int = 1000,
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> ModeCount:
    """How many modes the data support: a probability for each number.

    Use it when the number of modes is in question; :func:`~lse_vi.fit_posterior` is for a given
    number. It fits the posterior for K = 1, 2, ... up to ``modes``, and stops early when the last
    two K are each a thousand times less probable than the best K.

    Args:
        x: data (n, dim) or (n,), dim from 1 to 3, or a DataFrame, as for
            :func:`~lse_vi.fit_posterior`.
        modes: the largest K, at most 6.
        value, weights, bounds, hidden, prior, guide, draws, seed, progress: as for
            :func:`~lse_vi.fit_posterior`.
        checkpoint: a file to write after each part of the fits, which holds the posterior of each K
            that is done; an interrupted count called again with the same arguments goes on from it.

    Raises:
        ValueError: as :func:`~lse_vi.fit_posterior`.

    Example:
        >>> x = torch.cat([torch.randn(60) - 4, torch.randn(60) + 4])
        >>> count_modes(x, modes=2, draws=100, progress=False).most_probable
        2
    """
    table = Table.of(x, weights, value)
    given = (bounds, hidden, prior, None, guide, True, draws, GUIDE_STEPS, seed)
    plan = Plan(check_modes(modes), *given).check()
    taken = Steps(Checkpoint(checkpoint, lambda: plan.fingerprint(table)))
    posteriors: dict[int, DensityPosterior] = {}
    log_p: list[float] = []
    for k in range(1, modes + 1):
        with taken.within(str(k)):
            posteriors[k] = posterior_of(table, plan._replace(modes=k), taken, progress)
        log_p.append(_log_evidence(k, posteriors[k]))
        if max(log_p[-2:]) < max(log_p) - UNLIKELY:
            break
    return ModeCount(posteriors)


def _log_evidence(k: int, posterior: DensityPosterior) -> float:
    """The log evidence for ``k`` modes, in nats."""
    if posterior.evidence is None:
        raise ValueError(
            f"posteriors[{k}] has no evidence, as a Markov chain gives none; use fit_posterior"
        )
    return posterior.evidence.log_evidence
