"""Networks and minibatches as a user would hand them over: one module each.

Every module has ``network()`` and ``minibatch(number)``, which ``stagewright profile`` is given,
and ``inputs(step, microbatch)`` and ``target(step, microbatch)``, which ``train.py --data`` is.
Both draw from the same few minibatches, so that what is measured is what runs.
"""

MINIBATCHES = 4
"""Different minibatches, which take turns."""


def number_of(step: int, microbatch: int) -> int:
    """Return which of the minibatches comes; all come equally often, also two a step.

    >>> [number_of(step, k) for step in range(2) for k in range(2)]
    [0, 1, 2, 3]
    """
    return (2 * step + microbatch) % MINIBATCHES
