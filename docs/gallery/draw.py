"""Draw the figures of the gallery: `python docs/gallery/draw.py [NAME ...]`."""

import runpy
import sys
import time
from pathlib import Path

import matplotlib
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from lse_vi.plots import STYLE

if __name__ == "__main__":
    folder = Path(__file__).parent
    torch.set_num_threads(1)
    plt.rcParams.update(STYLE)
    for example in sorted(folder.glob("plot_*.py")):
        if sys.argv[1:] and example.stem not in sys.argv[1:]:
            continue
        began = time.process_time()
        torch.manual_seed(0)
        runpy.run_path(str(example))
        plt.gcf().savefig(example.with_suffix(".png"))
        plt.close("all")
        print(f"{example.stem}: {time.process_time() - began:.1f} CPU s")
