"""The error that a fit raises when its loss is not finite."""

from __future__ import annotations

from lse_vi.network.potential import LSEICNN


class NonFiniteLossError(RuntimeError):
    """A fit met a loss that is not finite; ``potential`` is the last good state.

    Catch it to keep that state, or to fit again with a smaller learning rate.

    Args:
        step: the step with the loss that is not finite.
        potential: the last state with a finite loss.

    Example:
        >>> try:
        ...     raise NonFiniteLossError(7, LSEICNN(1, 2))
        ... except NonFiniteLossError as failure:
        ...     print(failure.potential.modes, str(failure)[:32])
        2 the loss is not finite at step 7
    """

    def __init__(self, step: int, potential: LSEICNN) -> None:
        super().__init__(
            f"the loss is not finite at step {step} with {potential.modes} modes; the last good "
            "state is in the potential attribute of this error. A smaller learning_rate helps."
        )
        self.step, self.potential = step, potential

    def __reduce__(self) -> tuple[type[NonFiniteLossError], tuple[int, LSEICNN]]:
        # An exception is pickled by its message, with which it could not be made again.
        return type(self), (self.step, self.potential)
