"""The settings of a training run."""

from dataclasses import dataclass

HALVE_AT = (0.3, 0.6, 0.9)  # parts of the run after which the rate is halved (section 4)


@dataclass(frozen=True)
class Settings:
    """What decides the weights a run ends with, and how often it reports.

    Attributes:
        steps: updates of the weights.
        batch: crops a step, of all processes together.
        rate: Adam's learning rate, halved after 30, 60 and 90 % of the steps.
        clip: the gradient's norm is brought down to this where it is above; None leaves it.
        ema: decay of the exponential moving average of the weights, from 0 (the weights
            themselves) to below 1; see ``moving_average``. The average is what is validated
            and what the run ends with.
        log_every: steps between two rows of the log, which are means over these steps.
        validate_every: steps between two looks at the validation images.
        checkpoint_every: steps between two checkpoints.
        seed: of everything that is drawn.
        about: whatever else decides the weights (loss, data, start), in words. A run does not
            resume from a checkpoint with other words.

    Raises:
        ValueError: a number that is not positive, or the last two are no multiples of
            ``log_every``: the rows of a resumed run could not be those of an unbroken one.
    """

    steps: int
    batch: int = 16
    rate: float = 2e-4
    clip: float | None = 10.0
    ema: float = 0.999
    log_every: int = 100
    validate_every: int = 1000
    checkpoint_every: int = 1000
    seed: int = 0
    about: str = ""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "rate", "log_every", "validate_every", "checkpoint_every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)!r}")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip: expected a positive number or None, got {self.clip!r}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema: expected a number from 0 to below 1, got {self.ema!r}")
        for name in ("validate_every", "checkpoint_every"):
            if getattr(self, name) % self.log_every:
                raise ValueError(
                    f"{name}: expected a multiple of log_every={self.log_every}, "
                    f"got {getattr(self, name)}"
                )

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0.

        >>> [Settings(steps=300_000).rate_at(s) for s in (0, 89_999, 90_000, 299_999)]
        [0.0002, 0.0002, 0.0001, 2.5e-05]
        """
        return self.rate / 2 ** sum(step >= round(part * self.steps) for part in HALVE_AT)
