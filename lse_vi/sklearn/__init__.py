"""Densities as scikit-learn estimators: in pipelines, cross-validation and searches over a grid.

Needs scikit-learn: ``pip install "lse-vi[sklearn]"``. Begin with
:class:`~lse_vi.sklearn.LSEDensityEstimator`; nothing else of the library loads scikit-learn.
"""

from lse_vi.sklearn.estimator import LSEDensityEstimator

__all__ = ["LSEDensityEstimator"]
