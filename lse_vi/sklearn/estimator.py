"""``fit_density`` as an estimator of scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

try:
    from sklearn.base import BaseEstimator, DensityMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        'lse_vi.sklearn needs scikit-learn from 1.6 on: pip install "lse-vi[sklearn]"'
    ) from error

from lse_vi.checks import check_count
from lse_vi.densities.fit import fit_density
from lse_vi.fitting.random_state import seeded
from lse_vi.network.icnn import whitened
from lse_vi.sklearn.few import few_points, fit_few

LARGEST_SEED = 2**31 - 1


class LSEDensityEstimator(DensityMixin, BaseEstimator):
    """:func:`~lse_vi.fit_density` with the methods of scikit-learn's ``GaussianMixture``.

    Use it in pipelines, ``cross_val_score`` and ``GridSearchCV``, or in place of a
    ``GaussianMixture`` whose number of components is not known: ``n_components`` is the largest
    number of modes that is tried.

    Args:
        n_components: the largest number of modes.
        bounds: (low, high) of the support, each a number or one per column; None for R^d.
        period: of the columns, a number or one per column, None where not periodic.
        hidden: widths of the hidden layers of each mode; () makes a Gaussian mixture.
        mode_penalty: in nats per mode; by default that of BIC.
        held_out: share of the data that decides whether the end of a fit is kept. 0 by default,
            as scikit-learn holds out data itself.
        restarts: random starts for each number of modes.
        steps: Adam steps for each number of modes; None for the default of ``fit_density``.
        polish: at most so many L-BFGS steps after Adam.
        random_state: an integer, a ``RandomState`` or None, for the starts and for draws.

    Attributes:
        result_: the :class:`~lse_vi.FitResult`; print it for a report. None for so few points that
            they were given one Gaussian mode.
        density_: the :class:`~lse_vi.LSEDensity`.
        n_components_: number of modes found.
        weights_: masses of the modes, (n_components_,), the largest first.
        means_: their means, (n_components_, n_features).
        warnings_: what speaks against trusting the fit, in words.
        n_features_in_: number of columns seen by ``fit``.
        feature_names_in_: their names, where they had any.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(60, 1)) + 4 * np.tile([[-1], [1]], (30, 1))
        >>> model = LSEDensityEstimator(3, steps=20, polish=0).fit(x)
        >>> model.n_components_, model.predict_proba(x).shape
        (2, (60, 2))
    """

    def __init__(
        self,
        n_components: int = 5,
        *,
        bounds: Any = None,
        period: Any = None,
        hidden: Sequence[int] = (10, 10),
        mode_penalty: float | None = None,
        held_out: float = 0.0,
        restarts: int = 4,
        steps: int | None = None,
        polish: int = 600,
        random_state: Any = 0,
    ) -> None:
        self.n_components = n_components
        self.bounds = bounds
        self.period = period
        self.hidden = hidden
        self.mode_penalty = mode_penalty
        self.held_out = held_out
        self.restarts = restarts
        self.steps = steps
        self.polish = polish
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> LSEDensityEstimator:
        """Fit the density to X (n, features); y is ignored.

        Args:
            X: data.
            y: ignored.
            sample_weight: (n,). Whole numbers are counts of equal points, as in scikit-learn;
                others are relative, see ``weights`` of :func:`~lse_vi.fit_density`.

        Raises:
            ValueError: as :func:`~lse_vi.fit_density`. Fewer points than a covariance needs are
                given one Gaussian mode, with a warning.
        """
        kinds = [np.float64, np.float32]
        X = validate_data(self, X, dtype=kinds, ensure_min_samples=2)
        weights = None if sample_weight is None else _weights(sample_weight, X)
        check_count("n_components", self.n_components)
        self._seed = int(check_random_state(self.random_state).randint(LARGEST_SEED))
        if few_points(X, weights, self.held_out):
            self.result_, self.density_ = None, fit_few(X, weights)
            self.warnings_: tuple[str, ...] = ()
        else:
            self.result_ = fit_density(
                X,
                weights=weights,
                modes=self._most(X, weights),
                bounds=self.bounds,
                period=self.period,
                hidden=self.hidden,
                mode_penalty=self.mode_penalty,
                held_out=self.held_out,
                restarts=self.restarts,
                steps=self.steps,
                polish=self.polish,
                seed=self._seed,
                progress=False,
            )
            self.result_.names = tuple(map(str, getattr(self, "feature_names_in_", ())))
            self.density_, self.warnings_ = self.result_.density, self.result_.warnings
        self._read_modes()
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """The log density of each row of X, in nats, (n,)."""
        points = self._points(X)
        with torch.no_grad():
            return self.density_.log_prob(points).double().numpy()

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The mean log density of the rows of X, in nats, under ``sample_weight`` if given."""
        each = self.score_samples(X)
        return float(np.average(each, weights=sample_weight))

    def predict_proba(self, X: Any) -> np.ndarray:
        """The responsibility of each mode for each row of X, (n, n_components_)."""
        points = self._points(X)
        with torch.no_grad():
            shares = self.density_.potential.responsibilities(points)
        return shares[:, self._order].double().numpy()

    def predict(self, X: Any) -> np.ndarray:
        """The index of the mode most responsible for each row of X, (n,)."""
        return self.predict_proba(X).argmax(1)

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Exact draws, (n_samples, features), and the mode of each, (n_samples,)."""
        check_is_fitted(self)
        check_count("n_samples", n_samples)
        seed = int(check_random_state(self.random_state).randint(LARGEST_SEED))
        with seeded(seed):
            x = self.density_.sample((n_samples,))
        with torch.no_grad():
            modes = self.density_.potential.responsibilities(x)[:, self._order].argmax(1)
        return x.double().numpy(), modes.numpy()

    def bic(self, X: Any) -> float:
        """The Bayesian information criterion on X: small is good.

        Each mode counts as many parameters as in the penalty of ``fit_density``: mass, mean,
        covariance, and a shape parameter per axis.
        """
        each, dim = self.score_samples(X), self.n_features_in_
        shape = 0 if not self.density_.potential.hidden else dim
        parameters = self.n_components_ * (1 + dim + dim * (dim + 1) / 2 + shape) - 1
        return float(-2 * each.sum() + parameters * math.log(len(each)))

    def _most(self, X: np.ndarray, weights: Any) -> int:
        """The largest number of modes for so many points."""
        n = len(X) if weights is None else int((weights > 0).sum())
        return min(self.n_components, n - round(self.held_out * n))

    def _points(self, X: Any) -> torch.Tensor:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return torch.as_tensor(np.array(X)).to(self.density_.potential.alpha.dtype)

    def _read_modes(self) -> None:
        weights = self.density_.mode_weights.detach()
        self._order = weights.argsort(descending=True)
        if self.result_ is None:  # one Gaussian, whose mean is its centre
            means: torch.Tensor = whitened(self.density_.potential.network).loc
        else:
            means = self.result_.mode_locations[self._order]
        self.n_components_ = len(weights)
        self.weights_ = weights[self._order].double().numpy()
        self.means_ = means.detach().double().numpy()


def _weights(sample_weight: Any, X: np.ndarray) -> np.ndarray:
    """Weights as scikit-learn gives them: whole numbers are counts, whatever their type."""
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not weights.any():
        raise ValueError("sample_weight: all weights are zero, so no point is left")
    whole = bool((weights == np.round(weights)).all())
    return weights.astype(np.int64) if whole else weights
