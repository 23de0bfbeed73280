"""All of the release-only measures in one call: a copying release is bad by each, an independent one by none."""

import json

import numpy as np

from datadouble.audit.features.base import Features
from datadouble.audit.privacy.membership import Space
from datadouble.audit.privacy.release_only import assess_release_only

from .patients import Side, patients


def features(side: Side) -> Features:
    n = len(side.array)
    ids = np.array([f"i{k}" for k in range(n)])
    return Features(side.array.astype(np.float32), ids, side.groups, side.labels, np.arange(n), "test")


def test_copies_and_an_independent_release():
    rng = np.random.default_rng(0)
    train, holdout, unseen, other = (patients(rng, 70, name) for name in "abcd")
    copied = Side(train.array + 0.05 * rng.normal(size=train.array.shape), train.groups, train.labels)
    results = {}
    for name, release in (("copies", copied), ("independent", unseen)):
        space = Space(2 * release.array, 2 * train.array, 2 * holdout.array)
        results[name] = assess_release_only(
            features(release),
            features(train),
            features(holdout),
            more_spaces={"twice": space},
            other_double=features(other),
            permutations=499,
            orders=2,
            seed=1,
        )
        json.dumps(results[name].evidence)
    bad, clean = results["copies"].evidence, results["independent"].evidence
    assert bad["membership"]["p_value"] == 0.002
    assert bad["two_cohorts"]["overall"]["advantage"]["low"] > 0.3
    assert bad["authenticity"]["auth_pct"]["value"] < 5
    assert bad["authenticity"]["c_t"]["value"] < -5
    assert bad["attributes"][0]["risk"]["low"] > 0.2
    assert clean["membership"]["p_value"] > 0.01
    assert clean["two_cohorts"]["overall"]["advantage"]["low"] < 0
    assert clean["authenticity"]["auth_pct"]["value"] > 30
    assert clean["attributes"][0]["p_value"] > 0.01
    assert [a["space"] for a in clean["attributes"]] == ["features", "twice"]
    assert set(results["copies"].material.membership) == {"features", "twice"}
    assert not any(group in json.dumps(bad) for group in train.groups)


def test_without_labels_and_second_double():
    rng = np.random.default_rng(1)
    sides = [patients(rng, 40, name) for name in "abc"]
    parts = [features(Side(s.array, s.groups, np.full(len(s.array), ""))) for s in sides]
    found = assess_release_only(*parts, permutations=99, orders=1, sizes=[10, 50])
    assert found.evidence["two_cohorts"]["rule"] == "threshold"
    assert found.evidence["attributes"][0]["measured"] is False
    assert "does not carry" in found.evidence["attributes"][0]["reason"]
