"""The training of a potential with a given number of modes: all restarts at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from lse_vi.fitting.best_state import replace_where, snapshot, take_first
from lse_vi.fitting.errors import NonFiniteLossError
from lse_vi.fitting.mode_search import Candidate, ModeSearch
from lse_vi.network.potential import ACTIVE, LSEICNN
from lse_vi.potentials.fewest_modes import FewestModes
from lse_vi.potentials.result import HISTORY
from lse_vi.potentials.solver import Solver
from lse_vi.potentials.targets import Targets


def fit_restarts(
    pot: LSEICNN,
    title: str,
    steps: int,
    discovery: FewestModes | None,
    *,
    solver: Solver,
    train: Targets,
    test: Targets,
    search: ModeSearch,
    progress: bool,
) -> Candidate:
    """All restarts at once; goes on from the search's run if there is one."""
    share = len(test) / (len(train) + len(test))
    descent = solver.begin(pot, train, min_rho=discovery.sharpness if discovery else 0.0)
    saved = search.run if search.run and search.run["title"] == title else None
    run: dict[str, Any] = saved or {
        "title": title,
        "step": 0,
        "best": snapshot(pot),
        "score": torch.full_like(pot.log_rho.detach(), torch.inf),  # of the best state
        "error": torch.full_like(pot.log_rho.detach(), torch.inf),  # its error on all points
        "mark": torch.full_like(pot.log_rho[0].detach(), torch.inf),  # the last score that counted
        "stale": 0,
        "history": {key: [] for key in HISTORY},
    }
    if saved:
        pot.load_state_dict(run["pot"])
        descent.load_state_dict(run["descent"])
    bar = tqdm(
        range(run["step"], steps), title, initial=run["step"], total=steps, disable=not progress
    )  # fmt: skip
    for step in bar:
        loss = descent.step()
        if not bool(torch.isfinite(loss).all()):
            pot.load_state_dict(run["best"])
            raise NonFiniteLossError(step, pot)
        if (step + 1) % solver.check_every and step + 1 < steps:
            continue
        with torch.no_grad():
            fitted = train.loss(pot).sqrt()
            unseen = test.loss(pot).sqrt() if len(test) else torch.full_like(fitted, torch.nan)
        score = torch.fmax(fitted, unseen)  # (restarts, *batch): fits, and does not overfit
        better = score < run["score"]
        run["best"] = replace_where(better, snapshot(pot), run["best"])
        run["score"] = torch.where(better, score, run["score"])
        everywhere = ((1 - share) * fitted.square() + share * unseen.nan_to_num().square()).sqrt()
        run["error"] = torch.where(better, everywhere, run["error"])
        lowest = run["score"].amin(0)
        run["stale"] = 0 if bool((lowest < 0.99 * run["mark"]).any()) else run["stale"] + 1
        run["mark"] = torch.where(lowest < 0.99 * run["mark"], lowest, run["mark"])
        _record(run["history"], step + 1, pot, train, fitted, unseen, score)
        bar.set_postfix(error=f"{float(lowest.max()):.2e}", refresh=False)
        if run["stale"] >= solver.patience:
            break
        run |= {"step": step + 1, "pot": pot.state_dict(), "descent": descent.state_dict()}
        search.save(run)
    winner = run["score"].argmin(0)
    error = run["error"].gather(0, winner.unsqueeze(0)).squeeze(0)
    objective = -error.clamp_min(discovery.tolerance if discovery else 0.0).log()
    return Candidate(pot.modes, take_first(run["best"], winner), objective, run["history"])


def _record(
    history: dict[str, list[Any]],
    step: int,
    pot: LSEICNN,
    train: Targets,
    fitted: Tensor,
    unseen: Tensor,
    score: Tensor,
) -> None:
    """Add a look at the best restart to the history."""
    with torch.no_grad():
        shares = pot.responsibilities(train.x.unsqueeze(1)).mean(0)  # (restarts, *batch, modes)
    seen = {
        "loss": fitted.square(),
        "held_out": unseen.square(),
        "active_modes": (shares > ACTIVE).sum(-1),
        "rho": pot.rho,
        "gates": pot.gates,
        "shares": shares,
    }
    history["step"].append(step)
    best = take_first({key: entry.detach() for key, entry in seen.items()}, score.argmin(0))
    for key, entry in best.items():
        history[key].append(entry.tolist())
