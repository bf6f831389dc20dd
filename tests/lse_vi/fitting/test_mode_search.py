"""The search for a number of modes: which candidates it tries, finishes and keeps."""

import math
from dataclasses import replace

import torch

from lse_vi import LSEICNN
from lse_vi.fitting.best_state import snapshot
from lse_vi.fitting.checkpoint import Checkpoint
from lse_vi.fitting.mode_search import Candidate, Finish, ModeSearch


def test_l_bfgs_is_spared_numbers_of_modes_that_it_cannot_save():
    """The best has it first; then those that 1.5 times its gain of 10 nats bring level.

    The best has 130 - 2 * 5 of them.
    """
    for objectives, expected in (
        ((109.0, 120.0, 119.0, 100.0), [2]),  # 109 - 5 + 15 < 120, 119 - 15 + 15 < 120
        ((111.0, 120.0, 119.0, 100.0), [2, 1]),
        ((109.0, 120.0, 121.0, 100.0), [2, 3]),
        ((111.0, 120.0, 122.0, 100.0), [2, 3, 1]),
    ):
        search = ModeSearch(Checkpoint(None, dict), penalty=5.0, device=torch.device("cpu"))
        for modes, objective in enumerate(objectives, start=1):
            search.add(Candidate(modes, {}, torch.tensor(objective), {}))
        order = []
        while candidate := search.promising():
            order.append(candidate.modes)
            gain = torch.tensor(10.0 if candidate.modes == 2 else 0.0)
            more = candidate.objective + gain
            search.replace(Candidate(candidate.modes, {}, more, {}, finish=Finish(gain)))
        assert order == expected


def test_the_best_of_every_data_set_is_finished():
    """The first data set has two modes, the second one; three modes, a mere trial, are left."""
    search = ModeSearch(Checkpoint(None, dict), penalty=5.0, device=torch.device("cpu"))
    for modes, objectives in enumerate(((0.0, 50.0), (90.0, 52.0), (92.0, 54.0)), start=1):
        begun = Finish(gain=torch.zeros(2), left=200)
        search.add(Candidate(modes, {}, torch.tensor(objectives), {}, finish=begun))
    order = []
    while candidate := search.unfinished():
        order.append(candidate.modes)
        search.replace(replace(candidate, finish=replace(candidate.finish, left=0)))
    assert order == [1, 2]


def test_of_equally_good_fits_the_one_with_fewer_modes_is_kept():
    search = ModeSearch(Checkpoint(None, dict), penalty=5.0, device=torch.device("cpu"), tie=1.0)
    for modes, objectives in enumerate(((90.0, 90.0), (95.9, 96.1), (101.5, 101.5)), start=1):
        search.add(Candidate(modes, {}, torch.tensor(objectives), {}))
    assert search.best().tolist() == [1, 1]  # worth 85, 85.9 and 86.5; 85, 86.1 and 86.5
    exact = ModeSearch(Checkpoint(None, dict), penalty=5.0, device=torch.device("cpu"))
    exact.done = search.done
    assert exact.best().tolist() == [2, 2]


def test_all_that_may_still_lead_are_finished():
    """Behind by 10: expected to gain 3 more than is counted already, or 12, or tried no further."""
    search = ModeSearch(Checkpoint(None, dict), penalty=5.0, device=torch.device("cpu"))
    search.add(Candidate(1, {}, torch.tensor(100.0), {}, finish=Finish(torch.tensor(0.0))))
    for modes, ahead in ((2, 3.0), (3, 12.0)):
        begun = Finish(torch.tensor(1.0), left=200, ahead=torch.tensor(ahead))
        objective = 95.0 - 10.0 + 5.0 * modes - ahead
        search.add(Candidate(modes, {}, torch.tensor(objective), {}, finish=begun))
    search.add(Candidate(4, {}, torch.tensor(104.0), {}, finish=Finish(left=200)))
    assert search.unfinished() is search.done[2]


def test_a_winner_is_settled_once_no_other_may_draw_level():
    """The rival is expected to end 10 behind, and is level if it gains 10 more than that."""
    for ahead, tie, settled in ((9.0, 0.0, True), (9.0, 1.5, False), (11.0, 0.0, False)):
        search = ModeSearch(Checkpoint(None, dict), 5.0, torch.device("cpu"), tie=tie)
        for modes, objective, more in ((1, 85.0 - ahead, ahead), (2, 100.0, 0.0)):
            begun = Finish(gain=torch.tensor(1.0), left=200, ahead=torch.tensor(more))
            search.add(Candidate(modes, {}, torch.tensor(objective), {}, finish=begun))
        assert search.settled(search.done[1]) == settled
        assert not search.settled(search.done[0])


def test_the_goal_is_to_be_as_good_as_the_best_of_the_others():
    search = ModeSearch(Checkpoint(None, dict), penalty=5.0, device=torch.device("cpu"), tie=1.0)
    for modes, objectives in enumerate(((90.0, 50.0), (99.0, 52.0), (92.0, 70.0)), start=1):
        search.add(Candidate(modes, {}, torch.tensor(objectives), {}))
    assert search.goal(search.done[1]).tolist() == [94.0, 64.0]  # 85 + 10 - 1 and 55 + 10 - 1
    assert search.goal(search.done[2]).tolist() == [103.0, 59.0]  # 89 + 15 - 1 and 45 + 15 - 1


def test_a_fit_that_points_held_out_prefer_has_reached_its_goal():
    """It would end after each round for what it lacks, and be taken up again as the best."""
    losses = torch.linspace(-1.0, 1.0, 100)
    search = ModeSearch(Checkpoint(None, dict), penalty=5.0, device=torch.device("cpu"))
    for modes, lower, left in ((1, 0.0, 0), (2, 1.0, 400)):
        begun = Finish(gain=torch.tensor(9.0), left=left)
        search.add(Candidate(modes, {}, torch.tensor(50.0), {}, losses - lower, begun))
    assert search.best() == 1  # though behind by the penalty
    assert search.unfinished() is search.done[1]
    assert search.goal(search.done[1]) == 50.0
    assert search.goal(replace(search.done[1])) == 55.0  # a merger, which must win


def test_a_merger_that_wins_everywhere_takes_the_steps_that_it_has_left():
    """Not those of the fit that it replaces: they would come on top of its own."""
    for better, left in (((95.0, 95.0), 0), ((95.0, 85.0), 500)):
        search = ModeSearch(Checkpoint(None, dict), penalty=5.0, device=torch.device("cpu"))
        old = Finish(gain=torch.zeros(2), left=500)
        search.add(Candidate(1, {}, torch.tensor([90.0, 90.0]), {}, finish=old))
        new = Finish(gain=torch.zeros(2), left=0, ahead=torch.zeros(2))
        search.improve(Candidate(1, {}, torch.tensor(better), {}, finish=new))
        assert search.done[0].finish.left == left


def test_l_bfgs_goes_to_the_best_of_every_data_set():
    search = ModeSearch(Checkpoint(None, dict), penalty=5.0, device=torch.device("cpu"))
    for modes, objectives in enumerate(((0.0, 50.0), (90.0, 52.0)), start=1):
        search.add(Candidate(modes, {}, torch.tensor(objectives), {}))
    begun = Finish(torch.zeros(2))
    search.replace(Candidate(2, {}, torch.tensor([90.0, 52.0]), {}, finish=begun))
    assert search.promising() is search.done[0]  # of the second: 50 - 5 > 52 - 10


def test_points_held_out_overrule_the_penalty_where_they_are_clear():
    """A second mode brings 20 of the 50 nats it costs; in one data set points held out want it."""
    search = ModeSearch(Checkpoint(None, dict), penalty=50.0, device=torch.device("cpu"))
    noise = 0.1 * torch.randn(100, 2)
    clear = torch.tensor([0.5, 0.0])  # 0.5 +- 0.01 nats per point, and 0.00 +- 0.01
    for modes, losses in enumerate((1.0 + noise, 1.0 - clear + noise.flip(0)), start=1):
        objective = torch.full((2,), 20.0 * modes)
        search.add(Candidate(modes, {}, objective, {}, losses, Finish(torch.ones(2))))
    assert search.best().tolist() == [1, 0]
    search.add(Candidate(3, {}, torch.zeros(2), {}, losses=1.0 - clear.flip(0) + noise))
    assert search.best().tolist() == [1, 2]
    assert search.promising() is search.done[2]  # far behind, but wanted by the second data set


def test_a_potential_fit_without_points_held_out_counts_by_its_objective():
    search = ModeSearch(Checkpoint(None, dict), penalty=1.0, device=torch.device("cpu"))
    for modes, objective in enumerate((0.0, 5.0, 5.5), start=1):
        search.add(Candidate(modes, {}, torch.tensor(objective), {}))
    assert int(search.best()) == 1


def test_a_search_does_not_go_back_once_l_bfgs_has_begun():
    """L-BFGS may make the fourth number the best; the fit had stopped searching, and has still."""
    search = ModeSearch(Checkpoint(None, dict), penalty=1.0, device=torch.device("cpu"))
    for modes in range(1, 6):
        search.add(Candidate(modes, {}, torch.tensor(0.0), {}))
    assert search.stalled
    search.replace(Candidate(4, {}, torch.tensor(50.0), {}, finish=Finish(torch.tensor(50.0))))
    assert int(search.best()) == 3
    assert search.stalled


def search_of(*objectives, penalty=10.0):
    """A search that has tried every number of modes with L-BFGS."""
    search = ModeSearch(Checkpoint(None, dict), penalty, device=torch.device("cpu"))
    for modes, objective in enumerate(objectives, start=1):
        begun = Finish(gain=torch.tensor(9.0), left=200)
        search.add(Candidate(modes, {}, torch.tensor(objective), {}, finish=begun))
    return search


def test_mergers_start_from_the_best_and_go_on_while_they_cost_less_than_a_mode():
    """Worth 110, 80, 120 and 100: from three modes; then from two if those come within 10."""
    for merged, expected in (131.0, 2), (129.0, None):
        search = search_of(120.0, 100.0, 150.0, 140.0)
        assert search.mergeable().modes == 3
        fewer = search.merge(search.done[2], {}, left=200)
        assert fewer.modes == 2
        search.improve(Candidate(2, {}, torch.tensor(merged), {}, finish=Finish(fewer.finish.gain)))
        more = search.mergeable()
        assert (more.modes if more else None) == expected


def test_a_merger_that_is_worse_is_forgotten():
    search = search_of(120.0, 130.0, 150.0)
    own = search.done[1]
    search.improve(Candidate(2, {}, torch.tensor(129.0), {}, finish=Finish(torch.tensor(0.0))))
    assert search.done[1] is own


def test_what_steps_may_still_bring_is_weighed_before_they_are_taken():
    """Two modes lead three by 5, but have no steps left; three may gain 20."""
    search = search_of(0.0, 100.0, 105.0)
    two, three = search.done[1:]
    search.replace(replace(two, finish=replace(two.finish, left=0)))
    assert int(search.best()) == 1
    search.replace(replace(three, finish=replace(three.finish, ahead=torch.tensor(20.0))))
    assert search.unfinished() is search.done[2]


def test_a_merger_is_noted_without_touching_the_candidate():
    search = search_of(0.0, 100.0, 150.0)
    three = search.done[2]
    search.merge(three, {}, left=200)
    assert not three.finish.merged
    assert search.done[2].finish.merged


def test_spare_modes_are_out_of_sight_however_far_out():
    """The first data set has two modes, the second one."""
    search = ModeSearch(Checkpoint(None, dict), penalty=5.0, device=torch.device("cpu"))
    pots = [LSEICNN(2, modes, hidden=(3,), batch_shape=(2,)) for modes in (1, 2)]
    for pot, objectives in zip(pots, ((0.0, 50.0), (90.0, 52.0)), strict=True):
        search.add(Candidate(pot.modes, snapshot(pot), torch.tensor(objectives), {}))
    both = search.assemble(pots[1])
    for far in (1.0, 1e4):
        x = far * torch.randn(50, 2, 2)
        torch.testing.assert_close(both(x)[:, 0], pots[1](x)[:, 0])
        one = pots[0](x)[:, 1] + math.log(2) / pots[0].rho[1]  # the mean is over two modes
        torch.testing.assert_close(both(x)[:, 1], one)


def test_points_held_out_choose_between_the_start_and_the_end_of_a_fit():
    """By one standard error; of the two data sets the first is explained worse by the end."""
    early, late = {"alpha": torch.zeros(2, 1)}, {"alpha": torch.ones(2, 1)}
    losses = torch.randn(40, 2)
    for gain, chosen in (([0.5, -0.5], [1.0, 0.0]), ([-0.01, 0.0], [1.0, 1.0])):
        ends = losses - torch.tensor(gain) + 0.3 * torch.tensor([-1.0, 1.0]).repeat(20)[:, None]
        end = Candidate(1, late, torch.zeros(2), {}, ends, early=(early, losses))
        assert end.chosen["alpha"][:, 0].tolist() == chosen
    none = Candidate(1, late, torch.zeros(2), {}, torch.empty(0, 2), early=(early, losses[:0]))
    assert none.chosen is late
