"""MRMC analysis against published analyses of the Van Dyke study.

The figures are the output printed in the user guide of the R package MRMCaov (Smith and Hillis, Proc. SPIE
2020;11316:113160K) for `mrmc(empirical_auc(truth, rating), treatment, reader, case, data = VanDyke)` and its variants.
RJafroc's figures for the same study (its dataset02) are in test_mrmc_size.py. Data: Van Dyke et al., RSNA 1993.
"""

import numpy as np
import pandas
import pytest

from datadouble.stats import auc_difference, auc_difference_unpaired, mrmc, roc_auc


@pytest.fixture(scope="module")
def van_dyke(shared_data):
    table = pandas.read_csv(shared_data / "mrmc" / "VanDyke.csv")
    return table.rename(columns={"treatment": "modality"})


def simulated(readers=3, modalities=2, positives=12, negatives=15, seed=0, unpaired=False):
    rng = np.random.default_rng(seed)
    rows = []
    places = rng.normal(size=positives + negatives)
    for modality in range(modalities):
        for reader in range(readers):
            for case in range(positives + negatives):
                truth = int(case < positives)
                rating = places[case] + rng.normal() + (0.8 + 0.3 * modality) * truth
                name = f"{modality}-{case}" if unpaired else f"{case}"
                rows.append((f"r{reader}", f"m{modality}", name, truth, round(rating, 1)))
    return pandas.DataFrame(rows, columns=["reader", "modality", "case", "truth", "rating"])


def test_van_dyke_random_readers_and_cases_with_jackknife(van_dyke):
    found = mrmc(van_dyke, covariance="jackknife", interval="symmetric")
    # VanDyke.csv's known result, and the MRMCaov figures of the jackknife.
    assert [m.value for m in found.modalities] == pytest.approx([0.897037, 0.940837], abs=5e-7)
    parts = found.components
    assert parts.ms_modality == pytest.approx(0.004796171, abs=5e-10)
    assert parts.ms_modality_reader == pytest.approx(0.0005510306, abs=5e-11)
    assert (parts.error, parts.cov1, parts.cov2, parts.cov3) == pytest.approx(
        (0.0008022883, 0.0003466137, 0.0003440748, 0.0002390284), abs=5e-11
    )
    assert (parts.reader, parts.modality_reader) == pytest.approx((0.0015349993, 0.0002004025), abs=5e-11)
    assert found.test.f == pytest.approx(4.4563, abs=5e-5)
    assert (found.test.df_numerator, round(found.test.df_denominator, 2)) == (1, 15.26)
    assert found.test.p_value == pytest.approx(0.0517, abs=5e-5)
    assert (found.design, found.model, found.readers) == (
        "crossed",
        "random readers, random cases",
        ("1", "2", "3", "4", "5"),
    )


def test_van_dyke_random_readers_and_cases_with_delong(van_dyke):
    found = mrmc(van_dyke, interval="symmetric")
    parts, difference = found.components, found.differences[0]
    assert (parts.error, parts.cov1, parts.cov2, parts.cov3) == pytest.approx(
        (0.0007921325, 0.0003420090, 0.0003395265, 0.0002358497), abs=5e-11
    )
    assert tuple(found.test) == pytest.approx((4.484854, 1, 15.06611, 0.05123303), rel=2e-7)
    assert (difference.value, difference.standard_error) == pytest.approx((-0.04380032, 0.0206825), abs=5e-8)
    assert (difference.low, difference.high) == pytest.approx((-0.0878671960, 0.0002665519), abs=5e-10)
    assert (difference.statistic, difference.p_value) == pytest.approx((-2.117747, 0.05123303), abs=5e-7)
    first, second = found.modalities
    assert tuple(first)[1:4] == pytest.approx((0.8970370, 0.8253461, 0.9687280), abs=5e-8)
    assert (first.standard_error, first.degrees_of_freedom) == pytest.approx((0.03307642, 12.59597), rel=1e-6)
    assert tuple(second)[1:4] == pytest.approx((0.9408374, 0.8942155, 0.9874592), abs=5e-8)
    assert (second.standard_error, second.degrees_of_freedom) == pytest.approx(
        (0.02150464, 12.56530), rel=1e-6
    )


def test_van_dyke_fixed_readers(van_dyke):
    found = mrmc(van_dyke, readers="fixed", covariance="jackknife", interval="symmetric")
    assert (found.test.f, found.test.df_denominator) == (pytest.approx(5.475953, abs=5e-7), np.inf)
    assert found.test.p_value == pytest.approx(0.01927984, abs=5e-9)
    assert found.differences[0].standard_error == pytest.approx(0.01871748, abs=5e-9)
    assert found.differences[0][3:5] == pytest.approx((-0.08048591, -0.00711473), abs=5e-9)
    assert found.modalities[0][2:4] == pytest.approx((0.8494301, 0.9446440), abs=5e-8)
    assert found.modalities[1][2:4] == pytest.approx((0.9079564, 0.9737183), abs=5e-8)


def test_van_dyke_fixed_cases(van_dyke):
    found = mrmc(van_dyke, cases="fixed", interval="symmetric")
    assert tuple(found.test) == pytest.approx((8.704, 1, 4, 0.04195875), rel=1e-6)
    assert found.differences[0][3:5] == pytest.approx((-0.08502022, -0.00258042), abs=5e-9)
    assert found.modalities[0][2:4] == pytest.approx((0.8280981, 0.9659760), abs=5e-8)
    assert np.isnan(found.components.cov2)
    # It is the paired t-test over readers.
    from scipy.stats import ttest_rel

    assert found.test.p_value == pytest.approx(ttest_rel(*found.areas).pvalue)


def test_van_dyke_with_cases_of_each_modality_taken_as_different(van_dyke):
    # MRMCaov's example of cases nested within tests (case3 = treatment.case).
    names = van_dyke["modality"].astype(str) + "." + van_dyke["case"].astype(str)
    found = mrmc(van_dyke.assign(case=names), covariance="jackknife", interval="symmetric")
    parts = found.components
    assert found.design == "unpaired"
    assert (parts.cov1, parts.cov3) == (0, 0)
    assert (parts.error, parts.cov2) == pytest.approx((0.0008058382, 0.0003455973), abs=5e-11)
    assert tuple(found.test) == pytest.approx((2.104491, 1, 68.42325, 0.1514363), rel=3e-7)
    assert found.differences[0][3:5] == pytest.approx((-0.10404242, 0.01644178), abs=5e-9)
    assert found.modalities[0][2:4] == pytest.approx((0.8251827, 0.9688914), abs=5e-8)
    assert found.differences[0].n == 228


def test_van_dyke_bootstrap_is_near_delong(van_dyke):
    ours = mrmc(van_dyke, covariance="bootstrap", resamples=3000, seed=1).components
    theirs = mrmc(van_dyke).components
    assert ours[3:7] == pytest.approx(theirs[3:7], rel=0.08)
    again = mrmc(van_dyke, covariance="bootstrap", resamples=3000, seed=1).components
    assert again == ours


def test_one_fixed_reader_gives_the_delong_tests():
    table = simulated(readers=1)
    first, second = (table[table.modality == m] for m in ("m0", "m1"))
    found = mrmc(table, readers="fixed", interval="symmetric")
    alone = auc_difference(first.truth.to_numpy(), first.rating.to_numpy(), second.rating.to_numpy())
    assert tuple(found.differences[0])[2:5] == pytest.approx(tuple(alone)[:3])
    assert tuple(found.modalities[0])[1:4] == pytest.approx(tuple(roc_auc(first.truth, first.rating))[:3])
    table = simulated(readers=1, unpaired=True)
    first, second = (table[table.modality == m] for m in ("m0", "m1"))
    alone = auc_difference_unpaired(first.truth, first.rating, second.truth, second.rating)
    assert tuple(mrmc(table, readers="fixed").differences[0])[2:5] == pytest.approx(tuple(alone)[:3])


def test_one_modality_has_an_area_and_no_test():
    found = mrmc(simulated(modalities=1))
    assert found.test is None
    assert found.differences == ()
    assert found.modalities[0].low < found.modalities[0].value < found.modalities[0].high


def test_each_modality_is_judged_by_its_own_data():
    table = simulated(modalities=3)
    alone = mrmc(table[table.modality == "m1"]).modalities[0]
    assert tuple(mrmc(table).modalities[1])[1:] == pytest.approx(tuple(alone)[1:])
    assert [(d.first, d.second) for d in mrmc(table).differences] == [
        ("m0", "m1"),
        ("m0", "m2"),
        ("m1", "m2"),
    ]


def test_three_modalities_by_the_equations():
    found = mrmc(simulated(modalities=3), covariance="jackknife")
    a = found.areas
    ms = 3 * a.mean(axis=1).var(ddof=1)
    assert found.components.ms_modality == pytest.approx(ms)
    parts = found.components
    denominator = parts.ms_modality_reader + 3 * max(parts.cov2 - parts.cov3, 0)
    assert found.test.f == pytest.approx(ms / denominator)
    assert found.test.df_denominator == pytest.approx(denominator**2 / (parts.ms_modality_reader**2 / 4))


def test_columns_may_come_as_a_mapping_in_any_order():
    table = simulated()
    mixed = table.sample(frac=1, random_state=0)
    assert mrmc({name: mixed[name].tolist() for name in mixed}).test == pytest.approx(mrmc(table).test)


def test_order_of_modalities_turns_signs_only():
    table = simulated()
    turned = table.assign(modality=table.modality.map({"m0": "z", "m1": "a"}))
    one, other = mrmc(table), mrmc(turned)
    assert other.differences[0].value == pytest.approx(-one.differences[0].value)
    assert other.test.p_value == pytest.approx(one.test.p_value)


@pytest.mark.parametrize("covariance", ["delong", "jackknife", "bootstrap"])
def test_copies_of_cases_with_groups_add_no_certainty(covariance):
    table = simulated()
    twice = pandas.concat([table, table.assign(case=table.case + "b")])
    patient = pandas.concat([table.case, table.case]).to_numpy()
    single = mrmc(table, covariance=covariance).components
    double = mrmc(twice.assign(patient=patient), covariance=covariance, groups="patient").components
    blind = mrmc(twice, covariance=covariance).components
    assert double[3:7] == pytest.approx(single[3:7], rel=0.15 if covariance == "bootstrap" else 1e-9)
    assert blind.error < 0.6 * single.error


@pytest.mark.parametrize("unpaired", [False, True])
def test_missing_cells_are_named(unpaired):
    table = simulated(unpaired=unpaired)
    row = table.index[(table.reader == "r1") & (table.modality == "m1")][4]
    case = table.case[row]
    with pytest.raises(ValueError, match=f"1 cells are missing.*reader r1, modality m1, case {case}"):
        mrmc(table.drop(index=row))


def test_partly_shared_cases_are_refused_with_the_remedy():
    table = simulated()
    table = table[(table.modality == "m0") | (table.case != "3")]
    with pytest.raises(ValueError, match="3 cells are missing.*names of their own"):
        mrmc(table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: pandas.concat([t, t.iloc[:1]]), "1 cells are rated more than once.*keep one"),
        (lambda t: t.drop(columns="truth"), "lack the columns truth"),
        (lambda t: t.assign(truth=1), "one class only"),
        (lambda t: t.assign(truth=t.truth + 1), "truth must be 0 and 1"),
        (lambda t: t.assign(truth=[1 - t.truth[0], *t.truth[1:]]), r"truth changes .* 1 cases \(0\)"),
        (lambda t: t.assign(rating=[np.nan, *t.rating[1:]]), "rating holds NaN"),
        (lambda t: t.assign(reader=[None, *t.reader[1:]]), "column reader is empty in 1"),
        (lambda t: t[t.reader == "r0"], "random readers need at least 2"),
        (lambda t: t[t.truth.eq(0) | t.case.eq("0")], "at least 2 positive"),
        (lambda t: t.iloc[:0], "no rows"),
    ],
)
def test_bad_tables(change, message):
    with pytest.raises(ValueError, match=message):
        mrmc(change(simulated()))


def test_bad_options():
    table = simulated()
    with pytest.raises(ValueError, match="both fixed"):
        mrmc(table, readers="fixed", cases="fixed")
    with pytest.raises(ValueError, match="unknown covariance"):
        mrmc(table, covariance="unbiased")
    with pytest.raises(ValueError, match="readers must be"):
        mrmc(table, readers="some")
    with pytest.raises(ValueError, match="interval"):
        mrmc(table, interval="wald")
    with pytest.raises(ValueError, match="lack the columns patient"):
        mrmc(table, groups="patient")


def test_perfect_readers_keep_a_width():
    table = simulated()
    found = mrmc(table.assign(rating=table.truth))
    assert [m.value for m in found.modalities] == [1, 1]
    # Clopper-Pearson on 12 of 12 independent pairs.
    assert found.modalities[0].low == pytest.approx(0.025 ** (1 / 12))
    assert found.differences[0].low < 0 < found.differences[0].high
    assert found.test.p_value == 1
