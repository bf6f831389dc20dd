"""Figures of loops: data, model, residuals and energies are where they belong."""

import numpy as np
import pytest

from data_gen.superelastic import Wire
from lse_vi import fit_memory
from lse_vi.plots import plot_loops


@pytest.fixture(scope="module")
def result():
    return fit_memory(Wire().tests(2, seed=0), progress=False)


def test_each_test_has_a_panel_with_its_rows(result, draw):
    figure = plot_loops(result, strain_label="strain (%)", stress_label="stress (MPa)")
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["test 0", "test 1", "residuals", "energy lost in each loop"]
    for test, ax in enumerate(figure.axes[:2]):
        data, model = ax.get_lines()
        np.testing.assert_array_equal(data.get_ydata(), result.tests[test].stress)
        np.testing.assert_array_equal(model.get_ydata(), result.fitted[test])
        assert ax.get_xlabel() == "strain (%)"
    data, model = figure.axes[3].get_lines()
    assert data.get_ydata().tolist() == [e.data for e in result.energies]
    assert model.get_ydata().tolist() == [e.model for e in result.energies]
    draw(figure.axes[0])


def test_another_result_is_refused():
    with pytest.raises(TypeError, match="result must be that of fit_memory for a list of tests"):
        plot_loops({"loss": [1.0]})
