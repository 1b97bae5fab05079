"""Agreement with people: by hand, by invariances, against scipy on data written out in full."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dsd_lib.quality import agreement
from dsd_lib.quality.agreement import (
    advantage,
    agreement_with_preferences,
    agreement_with_scores,
    bootstrap,
    draw_references,
    fit_logistic,
    fitted_bandwidth,
    krocc,
    logistic,
    pearson_difference,
    plcc,
    predicted_preference,
    preference,
    rated_pairs,
    spread_bandwidth,
    srocc,
)
from dsd_lib.quality.rated_sets import RatedImage, RatedPair, RatedSet

CORRELATIONS = [plcc, srocc, krocc]
NUMBERS = st.floats(-100, 100).map(lambda v: round(v, 3))


def noisy(n=60, references=6, seed=0, noise=10.0):
    """Scores, a measure that falls with them by a curve, and the reference of each."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0, 100, n)
    values = np.exp(-(scores + rng.normal(0, noise, n)) / 40)
    return values, scores, [f"image {i % references}" for i in range(n)]


def rated(name, score, std=5.0, reference="sea"):
    return RatedImage(Path(f"{name}.png"), reference and Path(reference), "blur", score, std)


class TestPreference:
    def test_by_hand(self):
        # Φ((40 - 30) / √(36 + 64)) = Φ(1)
        p = preference(30, 6, 40, 8, higher_is_better=False)
        assert p == pytest.approx(0.841345, abs=1e-6)
        assert preference(30, 6, 40, 8, higher_is_better=True) == pytest.approx(1 - p)

    @given(NUMBERS, st.floats(0, 20), NUMBERS, st.floats(0, 20), st.booleans())
    def test_swapping_a_and_b(self, score_a, std_a, score_b, std_b, higher_is_better):
        p = preference(score_a, std_a, score_b, std_b, higher_is_better=higher_is_better)
        q = preference(score_b, std_b, score_a, std_a, higher_is_better=higher_is_better)
        assert 0 <= p <= 1
        assert p + q == pytest.approx(1)

    def test_ratings_without_spread(self):
        p = preference([1, 2, 3], 0, [2, 2, 2], 0, higher_is_better=True)
        np.testing.assert_array_equal(p, [0, 0.5, 1])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((np.nan, 1, 2, 1), "score_a: expected finite numbers"),
            ((1, 1, np.inf, 1), "score_b: expected finite numbers"),
            ((1, -1, 2, 1), "std_a: expected spreads of 0 or more, got -1"),
            ((1, 1, 2, np.nan), "std_b: expected finite"),
        ],
    )
    def test_errors(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            preference(*arguments, higher_is_better=True)


class TestRatedPairs:
    def test_all_pairs_of_one_reference(self):
        images = (
            rated("a", 20.0),
            rated("x", 1.0, reference="hill"),
            rated("b", 30.0),
            rated("c", 30.0),
            rated("y", 9.0, reference="hill"),
        )
        pairs = rated_pairs(RatedSet("demo", images, higher_is_better=False))
        assert [(p.reference.name, p.a.stem, p.b.stem) for p in pairs] == [
            ("sea", "a", "b"),
            ("sea", "a", "c"),
            ("sea", "b", "c"),
            ("hill", "x", "y"),
        ]
        expected = stats.norm.cdf([10 / 50**0.5, 10 / 50**0.5, 0, 8 / 50**0.5])
        assert [p.preference for p in pairs] == pytest.approx(list(expected))

    def test_direction(self):
        images = (rated("a", 20.0), rated("b", 30.0))
        up, down = (rated_pairs(RatedSet("demo", images, v))[0].preference for v in (True, False))
        assert up == pytest.approx(1 - down)
        assert up < 0.5

    def test_pairs_that_people_compared_are_taken_as_they_are(self):
        pair = RatedPair(Path("r"), Path("a"), Path("b"), 0.25)
        assert rated_pairs(RatedSet("demo", (), True, (pair,))) == (pair,)

    @pytest.mark.parametrize(
        ("image", "missing"),
        [
            (rated("a", None), "score"),
            (rated("a", 1.0, std=None), "std"),
            (rated("a", 1.0, reference=None), "reference"),
        ],
    )
    def test_what_is_missing_is_named(self, image, missing):
        with pytest.raises(ValueError, match=rf"demo: .* a\.png has no {missing}"):
            rated_pairs(RatedSet("demo", (image, rated("b", 1.0)), True))


class TestAdvantage:
    def test_a_shorter_distance_is_an_advantage(self):
        assert advantage([1.0], [3.0], higher_is_better=False) == [2.0]
        assert advantage([1.0], [3.0], higher_is_better=True) == [-2.0]

    def test_predicted_preference_is_the_official_formula(self):
        loss_a, loss_b, b = np.array([0.2, 0.5]), np.array([0.3, 0.1]), 7.0
        official = 1 / (1 + np.exp(b * (loss_a - loss_b)))
        d = advantage(loss_a, loss_b, higher_is_better=False)
        np.testing.assert_allclose(predicted_preference(d, b), official)

    def test_no_overflow(self):
        np.testing.assert_array_equal(predicted_preference([-1e6, 1e6], 1e3), [0, 1])

    @pytest.mark.parametrize("bandwidth", [0, -1, np.nan])
    def test_bandwidth(self, bandwidth):
        with pytest.raises(ValueError, match="expected a number above 0"):
            predicted_preference([1.0], bandwidth)

    @given(st.floats(1e-4, 1e4))
    def test_bandwidths_do_not_depend_on_the_unit(self, unit):
        d = np.array([-2.0, -1.0, 0.5, 1.0, 3.0])
        p = np.array([0.2, 0.1, 0.6, 0.7, 0.9])
        assert spread_bandwidth(unit * d) * unit == pytest.approx(spread_bandwidth(d))
        assert fitted_bandwidth(unit * d, p) * unit == pytest.approx(fitted_bandwidth(d, p))

    def test_a_measure_that_tells_nothing_apart(self):
        with pytest.raises(ValueError, match="tells no two images apart"):
            spread_bandwidth([0.0, 0.0])


class TestCorrelations:
    def test_by_hand(self):
        values, scores = [1, 2, 3, 4, 5], [1, 3, 2, 5, 4]
        # Σd² = 4: ρ = 1 - 6·4 / (5·24); two of ten pairs are discordant
        assert srocc(values, scores, same_direction=True) == pytest.approx(0.8)
        assert krocc(values, scores, same_direction=True) == pytest.approx(0.6)

    @pytest.mark.parametrize("correlation", CORRELATIONS)
    @pytest.mark.parametrize("same_direction", [True, False])
    def test_a_perfect_measure_gives_one(self, correlation, same_direction):
        scores = np.linspace(0, 100, 30)
        values = 40 * np.log((scores + 10) / (110 - scores)) * (1 if same_direction else -1)
        assert correlation(values, scores, same_direction=same_direction) == pytest.approx(1)
        wrong = correlation(values, scores, same_direction=not same_direction)
        assert wrong == pytest.approx(-1)

    @pytest.mark.parametrize("correlation", CORRELATIONS)
    def test_turning_the_measure_turns_the_sign(self, correlation):
        values, scores, _ = noisy()
        r = correlation(values, scores, same_direction=False)
        assert 0.5 < r < 1
        assert correlation(-values, scores, same_direction=True) == pytest.approx(r, abs=1e-6)
        assert correlation(values, scores, same_direction=True) == pytest.approx(-r, abs=1e-6)

    @given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=4, max_size=20))
    def test_ranks_ignore_a_monotone_change(self, points):
        x, y = np.array(points).T
        if np.ptp(x) == 0 or np.ptp(y) == 0:
            return
        for correlation in (srocc, krocc):
            r = correlation(x, y, same_direction=True)
            assert correlation((x / 50) ** 3 + x, y, same_direction=True) == pytest.approx(r)
            assert correlation(x, 3 * y + 7, same_direction=True) == pytest.approx(r)
            assert -1 <= r <= 1

    @given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=3, max_size=20))
    def test_plcc_is_never_below_the_line(self, points):
        x, y = np.array(points).T
        if np.ptp(x) < 1 or np.ptp(y) < 1:
            return
        r = plcc(x, y, same_direction=True)
        assert abs(r) >= abs(stats.pearsonr(x, y).statistic) - 1e-12
        assert abs(r) <= 1 + 1e-12

    def test_plcc_straightens_a_curve(self):
        values, scores, _ = noisy(noise=2.0)
        line = -stats.pearsonr(values, scores).statistic
        assert plcc(values, scores, same_direction=False) > line + 0.02

    def test_plcc_does_not_depend_on_units(self):
        values, scores, _ = noisy()
        r = plcc(values, scores, same_direction=False)
        for unit, shift in ((1e-6, 0.0), (1e6, 5.0)):
            found = plcc(unit * values + shift, scores, same_direction=False)
            assert found == pytest.approx(r, abs=1e-5)

    def test_without_a_fit_the_line_is_used(self, monkeypatch):
        def fail(*_, **__):
            return np.full(4, np.nan), 4  # what MINPACK gives when it finds no way

        values, scores, references = noisy()
        monkeypatch.setattr(agreement.optimize, "leastsq", fail)
        line = -stats.pearsonr(values, scores).statistic
        assert fit_logistic(values, scores) is None
        assert plcc(values, scores, same_direction=False) == pytest.approx(line)
        found = agreement_with_scores(values, scores, references, same_direction=False, draws=20)
        assert found["plcc"].value == pytest.approx(line)

    def test_three_points_have_no_fit_and_still_a_value(self):
        assert fit_logistic([1, 2, 4], [1, 2, 3]) is None
        line = stats.pearsonr([1, 2, 4], [1, 2, 3]).statistic
        assert plcc([1, 2, 4], [1, 2, 3], same_direction=True) == pytest.approx(line)

    def test_fit_recovers_the_logistic(self):
        x = np.linspace(0, 1e-3, 40)
        beta = [20.0, 90.0, 4e-4, 1e-4]
        fitted = fit_logistic(x, logistic(x, beta))
        np.testing.assert_allclose(logistic(x, fitted), logistic(x, beta), atol=1e-4)

    @pytest.mark.parametrize("correlation", CORRELATIONS)
    @pytest.mark.parametrize(
        ("values", "scores", "message"),
        [
            ([1, 2, np.nan], [1, 2, 3], "values: expected finite numbers, got NaN or infinity"),
            ([1, 2, 3], [1, np.inf, 3], "scores: expected finite numbers, got NaN or infinity"),
            ([5, 5, 5], [1, 2, 3], "values: all are 5; no correlation with it is defined"),
            ([1, 2, 3], [4, 4, 4], "scores: all are 4"),
            ([1, 2], [1, 2], r"values: expected 3 numbers or more in a row, got \(2,\)"),
            ([[1, 2, 3]], [[1, 2, 3]], r"got \(1, 3\)"),
            ([1, 2, 3, 4], [1, 2, 3], "expected as many values as scores, got 4 and 3"),
        ],
    )
    def test_errors(self, correlation, values, scores, message):
        with pytest.raises(ValueError, match=message):
            correlation(values, scores, same_direction=True)


def written_out(draw, members):
    """A draw as indices, each reference's images as often as it was drawn."""
    return np.concatenate([np.tile(m, n) for m, n in zip(members, draw, strict=True)]).astype(int)


class TestBootstrap:
    def test_draws(self):
        counts = draw_references(7, draws=4000, seed=3)
        assert counts.shape == (4000, 7)
        assert (counts.sum(axis=1) == 7).all()
        np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.06)
        np.testing.assert_array_equal(counts, draw_references(7, draws=4000, seed=3))
        assert (counts != draw_references(7, draws=4000, seed=4)).any()
        with pytest.raises(ValueError, match="expected 1 reference and 1 draw or more"):
            draw_references(0, draws=5, seed=0)

    def test_a_reference_keeps_all_its_images(self):
        seen = []
        bootstrap(lambda rows: seen.append(rows) or 0.0, list("aabbbc"), draws=50)
        for rows in seen[1:]:
            times = np.bincount(rows, minlength=6)
            assert times[0] == times[1]
            assert times[2] == times[3] == times[4]
            assert times[0] + times[2] + times[5] == 3

    def test_constant_statistic(self):
        assert bootstrap(lambda rows: 4.0, list("aabb")) == agreement.Estimate(4.0, 4.0, 4.0)

    def test_undefined_draws_are_left_out(self):
        found = bootstrap(lambda r: np.nan if len(set(r)) == 2 else 1.0, list("aabb"), draws=30)
        assert found == agreement.Estimate(1.0, 1.0, 1.0)
        with pytest.raises(ValueError, match="as they are is NaN"):
            bootstrap(lambda rows: np.nan, list("ab"))
        with pytest.raises(ValueError, match="expected at least one, got none"):
            bootstrap(lambda rows: 0.0, [])

    def test_coverage(self):
        # The mean of 30 groups, drawn 100 times from a known law: near 95 % of the intervals
        # hold its true mean of 0, and intervals from single images would hold it far too rarely.
        rng = np.random.default_rng(5)
        references = np.repeat(np.arange(30), 4)
        held = {"references": 0, "pictures": 0}
        for _ in range(100):
            x = (rng.normal(0, 1, (30, 1)) + rng.normal(0, 0.3, (30, 4))).ravel()
            for name, groups in (("references", references), ("pictures", np.arange(120))):
                found = bootstrap(lambda r, x=x: x[r].mean(), list(groups), draws=80)
                held[name] += found.low <= 0 <= found.high
        assert 85 <= held["references"] <= 99
        assert held["pictures"] < 75

    @pytest.mark.parametrize("ties", [False, True])
    def test_the_fast_form_agrees_with_scipy_on_every_draw(self, ties):
        values, scores, _ = noisy(n=40, references=5)
        if ties:
            values, scores = values.round(1), scores.round(-1)
        members = [np.arange(40)[i::5] for i in range(5)]
        counts = draw_references(5, draws=40, seed=1)
        found = agreement._weighted_pearson(values, scores, members, counts)
        rows = [written_out(draw, members) for draw in counts]
        expected = [stats.pearsonr(values[r], scores[r]).statistic for r in rows]
        np.testing.assert_allclose(found, expected, atol=1e-9)

    def test_refit_agrees_with_a_fit_from_nothing(self):
        values, scores, references = noisy(n=60, references=6)
        found = agreement_with_scores(values, scores, references, same_direction=False, draws=60)

        def anew(rows):
            return plcc(values[rows], scores[rows], same_direction=False)

        expected = bootstrap(anew, references, draws=60)
        got = found["plcc"]
        assert [got.value, got.low, got.high] == pytest.approx(
            [expected.value, expected.low, expected.high], abs=2e-3
        )


class TestAgreementWithScores:
    def test_values_are_the_plain_correlations(self):
        values, scores, references = noisy()
        found = agreement_with_scores(values, scores, references, same_direction=False, draws=50)
        for name, correlation in (("plcc", plcc), ("srocc", srocc), ("krocc", krocc)):
            r = correlation(values, scores, same_direction=False)
            assert found[name].value == pytest.approx(r)
            assert -1 <= found[name].low <= r <= found[name].high <= 1
            assert found[name].high - found[name].low > 0.01

    def test_seeded(self):
        values, scores, references = noisy()
        runs = [
            agreement_with_scores(
                values, scores, references, same_direction=False, draws=30, seed=s
            )
            for s in (0, 0, 1)
        ]
        assert runs[0] == runs[1] != runs[2]

    def test_one_reference_has_no_width(self):
        values, scores, _ = noisy(n=12)
        found = agreement_with_scores(values, scores, ["sea"] * 12, same_direction=False, draws=5)
        assert found["srocc"].low == pytest.approx(found["srocc"].high)

    def test_references_must_fit(self):
        with pytest.raises(ValueError, match="references: expected 4, one for each, got 2"):
            agreement_with_scores([1, 2, 3, 4], [1, 2, 3, 5], ["a", "b"], same_direction=True)


class TestAgreementWithPreferences:
    def pairs(self, n=200, seed=0):
        rng = np.random.default_rng(seed)
        d = rng.normal(0, 1, n)
        p = 1 / (1 + np.exp(-3 * d + rng.normal(0, 2, n)))
        return d, p, [i % 8 for i in range(n)]

    def test_the_papers_protocol_is_pearson(self):
        d, p, references = self.pairs()
        found = agreement_with_preferences(d, p, references, bandwidth=2.0, draws=50)
        assert found["pearson"].value == pytest.approx(stats.pearsonr(d, p).statistic)
        official = 1 / (1 + np.exp(-2.0 * d))
        expected = stats.pearsonr(official, p).statistic
        assert found["logistic_given"].value == pytest.approx(expected)
        for estimate in found.values():
            assert estimate.low < estimate.value < estimate.high

    def test_swapping_a_and_b_leaves_everything(self):
        d, p, references = self.pairs()
        found = agreement_with_preferences(d, p, references, draws=50)
        swapped = agreement_with_preferences(-d, 1 - p, references, draws=50)
        for name, estimate in found.items():
            assert swapped[name].value == pytest.approx(estimate.value)
            assert swapped[name].low == pytest.approx(estimate.low)

    def test_both_orders_do_not_depend_on_the_names(self):
        d, p, references = self.pairs()
        sign = np.where(np.arange(len(d)) % 3 == 0, -1, 1)
        found = agreement_with_preferences(d, p, references, draws=20)
        turned = agreement_with_preferences(d * sign, 0.5 + sign * (p - 0.5), references, draws=20)
        both = "pearson_both_orders"
        assert turned[both].value == pytest.approx(found[both].value)
        assert turned["pearson"].value != pytest.approx(found["pearson"].value, abs=1e-6)

    def test_the_unit_of_the_measure_does_not_matter(self):
        d, p, references = self.pairs()
        found = agreement_with_preferences(d, p, references, draws=20)
        small = agreement_with_preferences(1e-5 * d, p, references, draws=20)
        for name, estimate in found.items():
            assert small[name].value == pytest.approx(estimate.value)

    def test_fitted_is_the_best_bandwidth(self):
        d, p, references = self.pairs()
        found = agreement_with_preferences(d, p, references, bandwidth=0.01, draws=20)
        assert found["logistic_fitted"].value >= found["logistic_spread"].value
        assert found["logistic_fitted"].value > found["logistic_given"].value + 0.01
        # A narrow logistic is a straight line.
        assert found["logistic_given"].value == pytest.approx(found["pearson"].value, abs=1e-4)

    def test_a_perfect_measure(self):
        d = np.linspace(-4, 4, 41)
        p = 1 / (1 + np.exp(-d))
        found = agreement_with_preferences(d, p, [i % 4 for i in range(41)], bandwidth=1, draws=20)
        assert found["logistic_given"].value == pytest.approx(1)
        assert found["logistic_fitted"].value > 0.9995
        worst = agreement_with_preferences(-d, p, [i % 4 for i in range(41)], draws=20)
        assert worst["pearson"].value == pytest.approx(-found["pearson"].value)

    def test_errors(self):
        with pytest.raises(ValueError, match="advantages: all are 0; no correlation"):
            agreement_with_preferences([0, 0, 0], [0.1, 0.2, 0.3], list("abc"))
        with pytest.raises(ValueError, match="preferences: expected finite"):
            agreement_with_preferences([0, 1, 2], [0.1, np.nan, 0.3], list("abc"))


class TestDifference:
    def test_of_a_measure_with_itself_is_nothing(self):
        p = np.array([0.1, 0.9, 0.4, 0.6])
        found = pearson_difference(p, 3 * p, p, list("aabb"), draws=50)
        assert (found.value, found.low, found.high) == pytest.approx((0, 0, 0))

    def test_the_shared_draws_make_it_narrow(self):
        rng = np.random.default_rng(2)
        references = np.repeat(np.arange(10), 20)
        p = rng.uniform(0, 1, 200)
        # Some references are hard for both measures, which differ by little else.
        common = rng.normal(0, np.linspace(0.02, 0.6, 10)[references])
        first, second = (p + common + rng.normal(0, s, 200) for s in (0.02, 0.12))
        found = pearson_difference(first, second, p, list(references))
        assert found.value == pytest.approx(
            stats.pearsonr(first, p).statistic - stats.pearsonr(second, p).statistic
        )
        own = agreement_with_preferences(first, p, list(references))["pearson"]
        assert found.high - found.low < 0.5 * (own.high - own.low)
        other = pearson_difference(second, first, p, list(references))
        assert (other.low, other.high) == pytest.approx((-found.high, -found.low))
