"""What the evidence says of a double's generator."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from datadouble.audit.facts import describe
from datadouble.cohort import CohortInfo


class Features(SimpleNamespace):
    def __len__(self) -> int:
        return len(self.labels)


def test_the_privacy_budget_of_a_generator_reaches_the_evidence_and_paths_do_not() -> None:
    generator = {
        "recipe": "coldit",
        "notes": "/home/someone",
        "privacy": {
            "epsilon": 7.99,
            "unit": "patient",
            "declared": ["class shares: Laplace noise", "/home/x"],
        },
    }
    info = CohortInfo("double", "synthetic", "ultrasound", ("a",), generator=generator)
    features = Features(groups=np.array(["1", "2"]), labels=np.array(["a", "a"]))
    described = describe(cast(Any, SimpleNamespace(info=info)), cast(Any, features))
    assert described["generator"] == {
        "recipe": "coldit",
        "privacy": {"epsilon": 7.99, "unit": "patient", "declared": ["class shares: Laplace noise"]},
    }
