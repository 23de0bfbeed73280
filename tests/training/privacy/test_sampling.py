"""Poisson sampling of patients: every one alike, apart, and the same again from the same secret."""

import numpy as np
import pytest
import torch

from datadouble.errors import DataDoubleError
from datadouble.training.privacy.sampling import PatientSampler, rows_by_patient

PATIENTS = np.array(["a"] * 5 + ["b"] + [f"p{i}" for i in range(38)])


def test_rows_are_gathered_by_patient_and_a_row_without_one_stands_alone() -> None:
    groups = rows_by_patient(["x", "", "y", "x", ""])
    assert [list(rows) for rows in groups] == [[0, 3], [1], [2], [4]]


def test_each_patient_is_taken_at_the_same_rate_and_apart_from_the_others() -> None:
    sampler = PatientSampler(PATIENTS, 8, 1, 1, secret=3)
    assert sampler.rate == 8 / 40
    taken = np.zeros((2000, 40), dtype=bool)
    for step in range(2000):
        taken[step, sampler.choose(step).patients] = True
    assert np.abs(taken.mean(axis=0) - 0.2).max() < 0.04  # the one with five pictures as the others
    # Numbers of patients spread as a binomial's do; batches of a fixed size would not spread at all.
    assert taken.sum(axis=1).var() == pytest.approx(40 * 0.2 * 0.8, rel=0.15)
    assert abs(np.corrcoef(taken[:, 0], taken[:, 1])[0, 1]) < 0.08


def test_a_patient_brings_its_own_rows_and_its_times_fill_equal_strata() -> None:
    sampler = PatientSampler(PATIENTS, 20, 2, 4, secret=3)
    chosen = sampler.choose(7)
    rows, times = chosen.rows.reshape(-1, 8), chosen.times.view(-1, 8)
    for patient, own, clock in zip(chosen.patients, rows, times, strict=True):
        assert set(own) <= set(sampler.groups[patient])
        assert [len(set(own[i : i + 4])) for i in (0, 4)] == [1, 1]  # a picture's draws lie together
        assert sorted((clock * 8).long().tolist()) == list(range(8))
    first = rows[list(chosen.patients).index(0)] if 0 in chosen.patients else rows[0]
    assert len(set(first)) <= 2


def test_the_same_secret_and_step_give_the_same_and_others_do_not() -> None:
    first, again, other = (PatientSampler(PATIENTS, 8, 1, 2, secret).choose(5) for secret in (1, 1, 2))
    assert np.array_equal(first.rows, again.rows) and torch.equal(first.times, again.times)
    assert not np.array_equal(first.patients, other.patients)
    with pytest.raises(DataDoubleError, match="more patients than there are"):
        PatientSampler(PATIENTS, 41, 1, 1, 0)
