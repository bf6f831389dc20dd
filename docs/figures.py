"""Copy the figures of the studies from `results/` into the site, in 200 colours to keep them small.

Run the studies first, `python -m models NAME`, then `python docs/figures.py`.
"""

from pathlib import Path

from PIL import Image

STUDIES = ("wells", "mechanochemistry", "schlogl", "elasticity", "waddington")

if __name__ == "__main__":
    folder = Path(__file__).parent / "figures"
    folder.mkdir(exist_ok=True)
    for study in STUDIES:
        for figure in sorted(Path("results", study).glob("figure*.png")):
            # Not by the default, which gives most colours to what fills most of the figure: a few
            # violet marks came out black.
            few = (
                Image.open(figure)
                .convert("RGB")
                .quantize(200, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            )
            few.save(folder / figure.name, optimize=True)
