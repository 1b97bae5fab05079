"""How well a measure agrees with people: preferences, correlations, and intervals for them.

A data set gives mean ratings (of every image) or preferences (of pairs of versions of one
reference). A measure gives one number per image. All correlations here are oriented: +1 is a
measure that orders images exactly as people do, whichever way it and the ratings point.

Intervals come from a bootstrap **over references**: images made from one reference resemble each
other, so they are not independent witnesses, but the references are. A draw takes as many
references as there are, with replacement, each with all its images.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from dsd_lib.extras import needs
from dsd_lib.quality.rated_sets import RatedImage, RatedPair, RatedSet

with needs("quality"):
    from scipy import optimize, special, stats

DRAWS = 1000  # of the bootstrap
# What bandwidths of the logistic are tried, in units of 1 / spread of the differences.
_BANDWIDTHS = np.geomspace(0.1, 100, 91)


@dataclass(frozen=True)
class Estimate:
    """A statistic and its 95 % interval.

    Attributes:
        value: of the data as they are.
        low: 2.5th percentile over the bootstrap draws.
        high: 97.5th percentile.
    """

    value: float
    low: float
    high: float


def preference(
    score_a: ArrayLike,
    std_a: ArrayLike,
    score_b: ArrayLike,
    std_b: ArrayLike,
    *,
    higher_is_better: bool,
) -> np.ndarray:
    """Probability that people prefer a over b, from the two ratings' means and spreads.

    ``Φ((DMOS_b - DMOS_a) / √(σ_a² + σ_b²))``, with the sign turned for scores that rise with
    quality. Each rating is taken as normal, as Thurstone did. Where both spreads are 0 the answer
    is 0, 1/2 or 1.

    Args:
        score_a: mean rating of a.
        std_a: its standard deviation, 0 or more.
        score_b: mean rating of b.
        std_b: its standard deviation.
        higher_is_better: True for MOS, False for DMOS.

    Returns:
        Probabilities, of the arguments' common shape.

    Raises:
        ValueError: a NaN or infinity, or a spread below 0.

    Source: section 3.4, for data sets with ratings in place of preferences; chapter 5 of the book.

    >>> preference(30.0, 6.0, 40.0, 8.0, higher_is_better=False).round(4)
    np.float64(0.8413)
    """
    numbers = [np.asarray(v, dtype=float) for v in (score_a, std_a, score_b, std_b)]
    for name, values in zip(("score_a", "std_a", "score_b", "std_b"), numbers, strict=True):
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
        if name.startswith("std") and (values < 0).any():
            raise ValueError(f"{name}: expected spreads of 0 or more, got {values.min():g}")
    score_a, std_a, score_b, std_b = numbers
    better = score_a - score_b if higher_is_better else score_b - score_a
    spread = np.hypot(std_a, std_b)
    with np.errstate(divide="ignore", invalid="ignore"):
        # 0 / 0 is a tie between two ratings without spread.
        return special.ndtr(np.where((better == 0) & (spread == 0), 0.0, better / spread))


def rated_pairs(rated_set: RatedSet) -> tuple[RatedPair, ...]:
    """The rated pairs of a set: those that people compared, or all pairs of one reference.

    Pairs follow the order of ``rated_set.images``: a comes before b.

    Raises:
        ValueError: a rated image has no reference, no score or no spread of its score.

    Source: section 3.4; chapter 5 of the book.

    >>> from pathlib import Path
    >>> r = Path("sea.png")
    >>> versions = [RatedImage(Path(f"{n}.png"), r, "blur", score, 5.0)
    ...             for n, score in (("a", 20.0), ("b", 40.0), ("c", 40.0))]
    >>> pairs = rated_pairs(RatedSet("demo", tuple(versions), higher_is_better=False))
    >>> [(p.a.stem, p.b.stem, round(p.preference, 3)) for p in pairs]
    [('a', 'b', 0.998), ('a', 'c', 0.998), ('b', 'c', 0.5)]
    """
    if rated_set.pairs:
        return rated_set.pairs
    versions: dict[object, list[RatedImage]] = {}
    for rated in rated_set.images:
        missing = [k for k in ("reference", "score", "std") if getattr(rated, k) is None]
        if missing:
            raise ValueError(
                f"{rated_set.name}: preferences follow from a reference, a score and its spread; "
                f"{rated.image} has no {missing[0]}"
            )
        versions.setdefault(rated.reference, []).append(rated)
    pairs = [pair for group in versions.values() for pair in combinations(group, 2)]
    if not pairs:
        return ()
    probabilities = preference(
        *(np.array([getattr(p[i], k) for p in pairs]) for i in (0, 1) for k in ("score", "std")),
        higher_is_better=rated_set.higher_is_better,
    )
    return tuple(
        RatedPair(a.reference, a.image, b.image, float(p))
        for (a, b), p in zip(pairs, probabilities, strict=True)
        if a.reference is not None
    )


def advantage(values_a: ArrayLike, values_b: ArrayLike, *, higher_is_better: bool) -> np.ndarray:
    """How much better a measure finds a than b: ``L(x_b) - L(x_a)`` for a distance L.

    Args:
        values_a: the measure's values of the images a, ``(n,)``.
        values_b: of the images b.
        higher_is_better: direction of the measure; False for a distance.

    Source: section 3.4; chapter 5 of the book.

    >>> advantage([0.1, 0.4], [0.3, 0.3], higher_is_better=False).round(3)
    array([ 0.2, -0.1])
    """
    a, b = np.asarray(values_a, dtype=float), np.asarray(values_b, dtype=float)
    return a - b if higher_is_better else b - a


def predicted_preference(advantages: ArrayLike, bandwidth: float) -> np.ndarray:
    """The official code's ``1 / (1 + exp(b (L_a - L_b)))``.

    Args:
        advantages: ``L_b - L_a``, see :func:`advantage`.
        bandwidth: b, above 0. The authors choose it by hand for every loss.

    Source: ``ex2.py`` of the authors' code; chapter 5 of the book.

    >>> predicted_preference([0.0, 0.1], bandwidth=20).round(3)
    array([0.5  , 0.881])
    """
    if not bandwidth > 0:
        raise ValueError(f"bandwidth: expected a number above 0, got {bandwidth!r}")
    return special.expit(bandwidth * np.asarray(advantages, dtype=float))


def spread_bandwidth(advantages: ArrayLike) -> float:
    """The bandwidth that does not depend on a measure's unit: 1 / root mean square of advantages.

    Raises:
        ValueError: all advantages are 0.

    >>> spread_bandwidth([0.3, -0.4, 0.3, -0.4]) == 1 / 0.125**0.5
    True
    """
    spread = float(np.sqrt(np.mean(np.square(np.asarray(advantages, dtype=float)))))
    if not spread > 0:
        raise ValueError("every advantage is 0: the measure tells no two images apart")
    return 1 / spread


def fitted_bandwidth(advantages: ArrayLike, preferences: ArrayLike) -> float:
    """The bandwidth with the highest Pearson correlation, out of 91 from 0.1 to 100 / spread.

    >>> d = np.array([-2.0, -1.0, 0.5, 1.0, 3.0])
    >>> b = fitted_bandwidth(d, predicted_preference(d, 1.5))
    >>> bool(abs(b / 1.5 - 1) < 0.08)
    True
    """
    d, p = _pair(advantages, preferences, "advantages", "preferences")
    bandwidths = spread_bandwidth(d) * _BANDWIDTHS
    p = p - p.mean()

    def correlation(bandwidth: float) -> float:  # up to a factor that p brings in
        q = predicted_preference(d, bandwidth)
        return (q - q.mean()) @ p / (q.std() or np.inf)

    return float(max(bandwidths, key=correlation))


def plcc(values: ArrayLike, scores: ArrayLike, *, same_direction: bool) -> float:
    """Pearson correlation after the usual 4-parameter logistic has been fitted.

    The logistic maps the measure to the scores' scale (Video Quality Experts Group 2000). Where it
    cannot be fitted, or the fit is no better than a straight line (which is the logistic's own
    limit), the line is used: the result is then the plain Pearson correlation. A measure that falls
    where it should rise gets a negative value.

    Args:
        values: the measure, ``(n,)``.
        scores: the mean ratings, ``(n,)``.
        same_direction: True when both rise with quality or both fall with it.

    Returns:
        A number in [-1, 1]; 1 for a perfect measure.

    Raises:
        ValueError: fewer than 3 numbers, different lengths, a NaN or infinity, or a constant.

    Source: chapter 5 of the book.

    >>> x = np.linspace(-3, 3, 20)
    >>> round(plcc(-x, 1 / (1 + np.exp(-x)), same_direction=False), 6)
    1.0
    """
    x, y = _oriented(values, scores, same_direction)
    return _plcc(x, y, fit_logistic(x, y))


def srocc(values: ArrayLike, scores: ArrayLike, *, same_direction: bool) -> float:
    """Spearman rank correlation. Arguments and errors are those of :func:`plcc`.

    >>> srocc([1, 2, 3, 4], [90, 80, 70, 60], same_direction=False)
    1.0
    """
    return spearman(*_oriented(values, scores, same_direction))


def krocc(values: ArrayLike, scores: ArrayLike, *, same_direction: bool) -> float:
    """Kendall rank correlation (τ_b). Arguments and errors are those of :func:`plcc`.

    >>> round(krocc([1, 2, 3, 4], [1, 2, 4, 3], same_direction=True), 4)
    0.6667
    """
    return kendall(*_oriented(values, scores, same_direction))


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation; NaN where one of the two is constant, as a bootstrap draw can be.

    >>> round(pearson(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])), 6)
    1.0
    """
    # Without their means, numbers that differ little lose no digits.
    return _unless_constant(stats.pearsonr, x - x.mean(), y - y.mean())


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation; NaN where one of the two is constant.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 8.0, 27.0]))
    1.0
    """
    return _unless_constant(stats.spearmanr, x, y)


def kendall(x: np.ndarray, y: np.ndarray) -> float:
    """Kendall's rank correlation τ_b; NaN where one of the two is constant.

    >>> round(kendall(np.array([1, 2, 3, 4]), np.array([1, 2, 4, 3])), 4)
    0.6667
    """
    return _unless_constant(stats.kendalltau, x, y)


def _unless_constant(correlation: Callable, x: np.ndarray, y: np.ndarray) -> float:
    if not (np.ptp(x) > 0 and np.ptp(y) > 0):
        return float("nan")
    return float(correlation(x, y).statistic)


def fit_logistic(values: ArrayLike, scores: ArrayLike) -> np.ndarray | None:
    """Least-squares parameters ``β`` of the 4-parameter logistic, or None where there is no fit.

    ``f(x) = β₂ + (β₁ - β₂) / (1 + exp(-(x - β₃) / |β₄|))``; draw it with :func:`logistic`.

    >>> x = np.linspace(0, 10, 30)
    >>> fit_logistic(x, logistic(x, [80.0, 20.0, 4.0, 1.5])).round(3).tolist()
    [80.0, 20.0, 4.0, 1.5]
    """
    x, y = _pair(values, scores, "values", "scores")
    (x0, x1), (y0, y1) = ((v.mean(), v.std()) for v in (x, y))
    u, v = (x - x0) / x1, (y - y0) / y1
    slope = np.sign(np.dot(u, v)) or 1.0
    ends = (v.max(), v.min()) if slope > 0 else (v.min(), v.max())
    quartiles = np.percentile(u, (25, 50, 75))
    best, least = None, np.inf
    for center, width in (
        (0.0, 0.5),
        # Distances are skewed: most of the images lie in a small part of the range.
        (quartiles[1], max((quartiles[2] - quartiles[0]) / 4, 1e-3)),
    ):
        beta = _fit(u, v, np.array([*ends, center, width]))
        if beta is not None and (error := np.square(logistic(u, beta) - v).sum()) < least:
            best, least = beta, error
    if best is None:
        return None
    b1, b2, b3, b4 = best
    return np.array([y0 + y1 * b1, y0 + y1 * b2, x0 + x1 * b3, x1 * abs(b4)])


def logistic(values: ArrayLike, beta: Sequence[float] | np.ndarray) -> np.ndarray:
    """The 4-parameter logistic of :func:`fit_logistic`.

    >>> logistic([4.0], [80.0, 20.0, 4.0, 1.5])
    array([50.])
    """
    b1, b2, b3, b4 = beta
    scale = max(abs(b4), 1e-12)
    return b2 + (b1 - b2) * special.expit((np.asarray(values, dtype=float) - b3) / scale)


def agreement_with_scores(
    values: ArrayLike,
    scores: ArrayLike,
    references: Sequence[object],
    *,
    same_direction: bool,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Estimate]:
    """PLCC, SROCC and KROCC of a measure with mean ratings, with intervals over references.

    Args:
        values: the measure, one number per image.
        scores: the mean ratings.
        references: what each image was made from; anything that can be compared.
        same_direction: True when both rise with quality or both fall with it.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        ``{"plcc": …, "srocc": …, "krocc": …}``.

    Raises:
        ValueError: as :func:`plcc`, or another number of references.

    Source: chapter 5 of the book.

    >>> rng = np.random.default_rng(0)
    >>> scores = rng.uniform(0, 100, 60)
    >>> found = agreement_with_scores(scores + rng.normal(0, 10, 60), scores,
    ...                               [f"image {i % 6}" for i in range(60)], same_direction=True)
    >>> found["srocc"].low < found["srocc"].value < found["srocc"].high
    True
    """
    x, y = _oriented(values, scores, same_direction)
    members = _members(references, len(x))
    counts = draw_references(len(members), draws, seed)
    beta = fit_logistic(x, y)
    draws_of_rows = [_take(members, row) for row in counts]
    found = {
        "plcc": _estimate(_plcc(x, y, beta), [_refit_plcc(x, y, beta, i) for i in draws_of_rows])
    }
    for name, correlation in (("srocc", spearman), ("krocc", kendall)):
        found[name] = _estimate(correlation(x, y), [correlation(x[i], y[i]) for i in draws_of_rows])
    return found


def agreement_with_preferences(
    advantages: ArrayLike,
    preferences: ArrayLike,
    references: Sequence[object],
    *,
    bandwidth: float | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Pearson correlation of a measure with preferences, with intervals over references.

    Args:
        advantages: how much better the measure finds a than b; see :func:`advantage`.
        preferences: probability that people prefer a.
        references: the reference of each pair; anything that can be compared.
        bandwidth: one more logistic, at this bandwidth, under the key ``"logistic_given"``; NaN
            where it takes every advantage to the same preference.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        ``"pearson"``: the paper's protocol, with the advantages as they are.
        ``"pearson_both_orders"``: the same with every pair counted as (a, b) and as (b, a), which
        does not depend on which of the two was called a.
        ``"logistic_spread"``: the official code's form at :func:`spread_bandwidth`.
        ``"logistic_fitted"``: the same at the best bandwidth, fitted again in each draw.

    Raises:
        ValueError: fewer than 3 pairs, different lengths, a NaN or infinity, or a constant.

    Source: section 3.4, Table 1; ``ex2.py`` of the authors' code; chapter 5 of the book.

    >>> d = np.array([1.0, 2.0, -1.0, 0.5])
    >>> found = agreement_with_preferences(d, 0.5 + d / 10, ["sea", "sea", "hill", "hill"])
    >>> round(found["pearson"].value, 6)
    1.0
    """
    d, p = _pair(advantages, preferences, "advantages", "preferences")
    members = _members(references, len(d))
    counts = draw_references(len(members), draws, seed)
    best = fitted_bandwidth(d, p)
    unit = spread_bandwidth(d)
    over_bandwidths = np.stack(
        [_weighted_pearson(special.expit(unit * b * d), p, members, counts) for b in _BANDWIDTHS]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a draw in which nothing is defined
        fitted = np.nanmax(over_bandwidths, axis=0)
    both = (np.concatenate([d, -d]), np.concatenate([p, 1 - p]))
    twice = [np.concatenate([m, m + len(d)]) for m in members]
    found = {
        "pearson": _estimate(pearson(d, p), _weighted_pearson(d, p, members, counts)),
        "pearson_both_orders": _estimate(pearson(*both), _weighted_pearson(*both, twice, counts)),
    }
    for name, b in (("spread", unit), ("given", bandwidth)):
        if b is not None:
            q = predicted_preference(d, b)
            draws_of_b = _weighted_pearson(q, p, members, counts)
            found[f"logistic_{name}"] = _estimate(pearson(q, p), draws_of_b)
    found["logistic_fitted"] = _estimate(pearson(predicted_preference(d, best), p), fitted)
    return found


def pearson_difference(
    advantages: ArrayLike,
    others: ArrayLike,
    preferences: ArrayLike,
    references: Sequence[object],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """By how much one measure's Pearson correlation with preferences is above another's.

    Both measures see the same draws, so that what makes a reference hard for both cancels: an
    interval that leaves out 0 says more than two intervals that overlap.

    Args:
        advantages: of the first measure; see :func:`advantage`.
        others: of the second measure, for the same pairs.
        preferences: probability that people prefer a.
        references: the reference of each pair.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Source: chapter 5 of the book.

    >>> p = np.array([0.1, 0.9, 0.4, 0.6])
    >>> pearson_difference(p, p, p, ["sea", "sea", "hill", "hill"])
    Estimate(value=0.0, low=0.0, high=0.0)
    """
    d, p = _pair(advantages, preferences, "advantages", "preferences")
    e, _ = _pair(others, preferences, "others", "preferences")
    members = _members(references, len(d))
    counts = draw_references(len(members), draws, seed)
    first, second = (_weighted_pearson(v, p, members, counts) for v in (d, e))
    return _estimate(pearson(d, p) - pearson(e, p), first - second)


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    references: Sequence[object],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """Any statistic with its interval over references.

    Args:
        statistic: takes the indices of the images in a draw, some of them more than once, and
            gives a number; NaN where it is undefined, which leaves the draw out.
        references: the reference of each image.
        draws: how often references are drawn.
        seed: of the draws.

    Raises:
        ValueError: no reference at all, or a statistic that is NaN for the data as they are.

    Source: chapter 5 of the book.

    >>> x = np.array([1.0, 2.0, 3.0, 4.0])
    >>> bootstrap(lambda rows: x[rows].mean(), ["sea", "sea", "hill", "hill"])
    Estimate(value=2.5, low=1.5, high=3.5)
    """
    members = _members(references, len(references))
    value = float(statistic(np.arange(len(references))))
    if np.isnan(value):
        raise ValueError("the statistic of the data as they are is NaN")
    counts = draw_references(len(members), draws, seed)
    return _estimate(value, np.array([float(statistic(_take(members, row))) for row in counts]))


def draw_references(references: int, draws: int, seed: int) -> np.ndarray:
    """How often each reference is drawn in each draw, ``(draws, references)``.

    >>> draw_references(3, draws=2, seed=0).sum(axis=1)
    array([3, 3])
    """
    if references < 1 or draws < 1:
        raise ValueError(f"expected 1 reference and 1 draw or more, got {references} and {draws}")
    shares = np.full(references, 1 / references)
    return np.random.default_rng(seed).multinomial(references, shares, size=draws)


def _pair(x: ArrayLike, y: ArrayLike, name_x: str, name_y: str) -> tuple[np.ndarray, np.ndarray]:
    """The two as arrays ``(n,)`` that a correlation is defined for."""
    arrays = []
    for name, values in ((name_x, x), (name_y, y)):
        array = np.asarray(values, dtype=float)
        if array.ndim != 1 or len(array) < 3:
            raise ValueError(f"{name}: expected 3 numbers or more in a row, got {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
        if np.ptp(array) == 0:
            raise ValueError(f"{name}: all are {array[0]:g}; no correlation with it is defined")
        arrays.append(array)
    if len(arrays[0]) != len(arrays[1]):
        raise ValueError(
            f"expected as many {name_x} as {name_y}, got {len(arrays[0])} and {len(arrays[1])}"
        )
    return arrays[0], arrays[1]


def _oriented(
    values: ArrayLike, scores: ArrayLike, same_direction: bool
) -> tuple[np.ndarray, np.ndarray]:
    x, y = _pair(values, scores, "values", "scores")
    return (x if same_direction else -x), y


def _members(references: Sequence[object], count: int) -> list[np.ndarray]:
    """The indices of each reference's images."""
    if len(references) != count:
        raise ValueError(f"references: expected {count}, one for each, got {len(references)}")
    found: dict[object, list[int]] = {}
    for index, reference in enumerate(references):
        found.setdefault(reference, []).append(index)
    if not found:
        raise ValueError("references: expected at least one, got none")
    return [np.array(indices) for indices in found.values()]


def _take(members: list[np.ndarray], counts: np.ndarray) -> np.ndarray:
    """The indices of one draw, each as often as its reference was drawn."""
    times = np.repeat(counts, [len(m) for m in members])
    return np.repeat(np.concatenate(members), times)


def _estimate(value: float, draws: ArrayLike) -> Estimate:
    values = np.asarray(draws)
    values = values[np.isfinite(values)]  # a draw can hold one reference only, and be constant
    if not len(values):
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.percentile(values, (2.5, 97.5))
    return Estimate(float(value), float(low), float(high))


def _fit(x: np.ndarray, y: np.ndarray, start: np.ndarray) -> np.ndarray | None:
    """Levenberg and Marquardt's way down from ``start``, as far as it comes in 60 steps."""

    def residuals(beta: np.ndarray) -> np.ndarray:
        return logistic(x, beta) - y

    def jacobian(beta: np.ndarray) -> np.ndarray:
        b1, b2, b3, b4 = beta
        scale = max(abs(b4), 1e-12)
        t = (x - b3) / scale
        s = special.expit(t)
        rise = (b1 - b2) * s * (1 - s) / scale
        return np.stack([s, 1 - s, -rise, -rise * t * (1 if b4 >= 0 else -1)], axis=1)

    if len(x) < len(start):
        return None
    # Where a straight line is best the way down has no end, so that it is cut off.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that says so
        beta, _ = optimize.leastsq(residuals, start, Dfun=jacobian, ftol=1e-7, xtol=1e-7, maxfev=60)
    return beta if np.isfinite(beta).all() else None


def _plcc(x: np.ndarray, y: np.ndarray, beta: np.ndarray | None) -> float:
    line = pearson(x, y)
    if beta is None:
        return line
    fitted = logistic(x, beta)
    if not np.ptp(fitted) > 1e-9 * np.ptp(y):
        return line
    # A logistic that falls fits as well as one that rises; the sign must not get lost.
    curve = pearson(fitted, y) * np.sign(beta[0] - beta[1])
    return float(curve if abs(curve) > abs(line) else line)


def _refit_plcc(x: np.ndarray, y: np.ndarray, beta: np.ndarray | None, rows: np.ndarray) -> float:
    """PLCC of one draw, its logistic fitted anew from where that of all data lies."""
    x, y = x[rows], y[rows]
    if not (np.ptp(x) > 0 and np.ptp(y) > 0):
        return float("nan")
    if beta is None:
        return _plcc(x, y, fit_logistic(x, y))
    (x0, x1), (y0, y1) = ((v.mean(), v.std()) for v in (x, y))
    start = [(beta[0] - y0) / y1, (beta[1] - y0) / y1, (beta[2] - x0) / x1, beta[3] / x1]
    near = _fit((x - x0) / x1, (y - y0) / y1, np.array(start))
    if near is None:
        return _plcc(x, y, fit_logistic(x, y))
    b1, b2, b3, b4 = near
    return _plcc(x, y, np.array([y0 + y1 * b1, y0 + y1 * b2, x0 + x1 * b3, x1 * abs(b4)]))


def _weighted_pearson(
    x: np.ndarray, y: np.ndarray, members: list[np.ndarray], counts: np.ndarray
) -> np.ndarray:
    """Pearson's r in each draw, ``(draws,)``, from every reference's sums; NaN where undefined."""
    x, y = ((v - v.mean()) / (v.std() or 1.0) for v in (x, y))  # so that sums lose no digits
    sums = np.array(
        [[len(m), x[m].sum(), y[m].sum(), x[m] @ x[m], y[m] @ y[m], x[m] @ y[m]] for m in members]
    )
    n, sx, sy, sxx, syy, sxy = (counts @ sums).T
    vx, vy = n * sxx - sx**2, n * syy - sy**2
    with np.errstate(divide="ignore", invalid="ignore"):
        r = (n * sxy - sx * sy) / np.sqrt(vx * vy)
    return np.where((vx > 1e-9 * n**2) & (vy > 1e-9 * n**2), np.clip(r, -1, 1), np.nan)
