"""What notebooks show: escaped text, the numbers that are printed, warnings."""

import re
from xml.etree import ElementTree

import torch

from lse_vi import count_modes, fit_density
from lse_vi.fitting.report import curve, page
from lse_vi.plots import plot_density


def test_a_page_is_well_formed_and_escaped():
    text = page(
        "a < b",
        ["x"],
        [["<script>"]],
        warnings=["1 & 2"],
        picture=curve(*torch.rand(2, 5).sort().values),
    )
    ElementTree.fromstring(text.replace("<br>", "<br/>").replace("&#9888;", "!"))
    assert "<script>" not in text
    assert "1 &amp; 2" in text


def test_numbers_of_modes_are_those_of_the_report_and_the_figure():
    x = torch.cat([torch.randn(60) - 4, torch.randn(40) + 4])
    res = fit_density(x, modes=2, steps=20, polish=0, progress=False)
    printed = dict(re.findall(r"mode (\d)  weight (\d\.\d\d)", str(res)))
    shown = dict(re.findall(r"<td>(\d)</td><td>(\d\.\d\d)\d</td>", res._repr_html_()))
    legend = [text.get_text() for text in plot_density(res).get_legend().get_texts()]
    drawn = dict(re.findall(r"mode (\d), weight (\d\.\d\d)", " ".join(legend)))
    assert set(printed) == set(shown) == set(drawn) == {"0", "1"}
    assert printed == shown
    assert all(abs(float(drawn[k]) - float(printed[k])) < 0.011 for k in printed)
    assert "<svg" in res._repr_html_()


def test_a_batch_and_a_count_are_tables():
    res = fit_density(torch.randn(30, 2, 1), modes=1, steps=5, polish=0, progress=False)
    assert res._repr_html_().count("<tr>") == 3
    count = count_modes(torch.randn(20), modes=1, guide="laplace", draws=20, progress=False)
    assert "most probably 1 peak<" in count._repr_html_()
