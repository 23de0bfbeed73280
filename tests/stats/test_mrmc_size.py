"""Power of MRMC studies against RJafroc's printed figures for the Van Dyke study, and simulation of the F distribution.

RJafroc (RJafrocBook, chapter "ROC-DBMH sample size using RJafroc"): `SsPowerGivenJK`, `SsPowerTable` and
`SsSampleSizeKGivenJ` on dataset02 with FOM = "Wilcoxon" and the effect size that the pilot observed.
"""

import pandas
import pytest

from datadouble.stats import VarianceComponents, mrmc, mrmc_power, mrmc_sample_size


@pytest.fixture(scope="module")
def pilot(shared_data):
    table = pandas.read_csv(shared_data / "mrmc" / "VanDyke.csv")
    return mrmc(table.rename(columns={"treatment": "modality"}), covariance="jackknife")


GUESS = VarianceComponents(0, 0, 0, 0.0008, 0.00035, 0.00034, 0.00024, 0.001, 0.0002, 114)


def test_power_of_van_dyke(pilot):
    found = mrmc_power(pilot, effect=pilot.differences[0].value, readers=6, cases=112)
    assert found.power == pytest.approx(0.5555789, abs=5e-8)
    assert (round(found.noncentrality, 1), round(found.df_denominator, 1)) == (4.8, 23.1)


def test_cases_of_van_dyke(pilot):
    effect = pilot.differences[0].value
    plans = mrmc_sample_size(pilot, effect=effect, readers=(3, 4, 5, 6, 7, 10, 20, 37, 100))
    assert [plan.cases for plan in plans] == [0, 1089, 344, 251, 211, 163, 126, 112, 103]
    assert [plan.reached for plan in plans] == [False] + [True] * 8
    assert plans[5].power == pytest.approx(0.8015625, abs=5e-8)
    (more,) = mrmc_sample_size(pilot, effect=effect, readers=10, power=0.9)
    assert (more.cases, more.power) == (236, pytest.approx(0.9003501, abs=5e-8))


def test_fixed_cases_of_van_dyke(pilot):
    (plan,) = mrmc_sample_size(pilot, effect=pilot.differences[0].value, readers=10, case_model="fixed")
    assert (plan.cases, plan.power) == (53, pytest.approx(0.8049666, abs=5e-8))


def test_fixed_readers_of_van_dyke(pilot):
    # RJafroc prints 133 with an F of K - 1 degrees; here chi-square, as in Hillis 2014, which asks for two fewer.
    (plan,) = mrmc_sample_size(pilot, effect=pilot.differences[0].value, readers=10, reader_model="fixed")
    assert plan.cases == 131


def test_power_is_that_of_simulated_t_tests():
    import numpy as np

    # Without errors from cases the F test is a paired t-test over readers: variance 2 * component.
    parts = VarianceComponents(0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0008, 100)
    rng = np.random.default_rng(0)
    gaps = 0.04 + np.sqrt(2 * 0.0008) * rng.normal(size=(20000, 6))
    t = gaps.mean(axis=1) / (gaps.std(axis=1, ddof=1) / np.sqrt(6))
    found = mrmc_power(parts, effect=0.04, readers=6, cases=100)
    assert found.df_denominator == pytest.approx(5)
    assert found.power == pytest.approx((np.abs(t) > 2.570582).mean(), abs=0.01)


def test_more_of_anything_gives_more_power():
    base = mrmc_power(GUESS, effect=0.04, readers=6, cases=100).power
    assert mrmc_power(GUESS, effect=0.04, readers=8, cases=100).power > base
    assert mrmc_power(GUESS, effect=0.04, readers=6, cases=150).power > base
    assert mrmc_power(GUESS, effect=-0.05, readers=6, cases=100).power > base
    assert mrmc_power(GUESS, effect=0.04, readers=6, cases=100, alpha=0.1).power > base
    assert mrmc_power(GUESS, effect=1e-9, readers=6, cases=100).power == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"effect": 0.0}, "effect must be"),
        ({"readers": 1}, "too few"),
        ({"cases": 2}, "too few"),
        ({"reader_model": "fixed", "case_model": "fixed"}, "not both fixed"),
        ({"pilot": GUESS._replace(cov2=float("nan"))}, "does not give cov2"),
        ({"pilot": VarianceComponents(0, 0, 0, 0, 0, 0, 0, 0, 0, 10)}, "no variance"),
    ],
)
def test_bad_plans(options, message):
    with pytest.raises(ValueError, match=message):
        mrmc_power(**{"pilot": GUESS, "effect": 0.04, "readers": 6, "cases": 100, **options})


def test_bad_sizes():
    with pytest.raises(ValueError, match="confidence"):
        mrmc_sample_size(GUESS, effect=0.05, power=1.0)
    with pytest.raises(ValueError, match="most_cases"):
        mrmc_sample_size(GUESS, effect=0.05, most_cases=3)
