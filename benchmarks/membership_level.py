"""False alarms of the membership test: patients who are all unseen pose as a double, over many splits of a cohort.

    python benchmarks/membership_level.py COHORT [--splits 200]

Half of the patients play train, a quarter the holdout, and a sample of the last quarter the double: nobody learned from
anybody, so a test at level alpha may alarm in a share alpha of the splits. Unlike releases drawn from one split, splits
drawn anew do not share their luck.
"""

from pathlib import Path

import numpy as np

from datadouble.audit.pictures import read_pictures
from datadouble.audit.privacy.gate import GateLimits
from datadouble.audit.privacy.membership import Space, joint_membership
from datadouble.audit.privacy.thumbnails import thumbnail_features
from datadouble.cohort import Cohort
from datadouble.cohort.split import units_of
from datadouble.randomness import generator_for, seed_for
from datadouble.stats import proportion_interval
from script import parser_of


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--release", type=int, default=200, help="pictures of a release")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=77)
    options = parser.parse_args()

    cohort = Cohort.open(options.cohort)
    real = read_pictures(cohort, options.size)
    units = np.zeros(len(cohort), np.int64)
    for number, rows in enumerate(units_of(cohort.table)):
        units[rows] = number
    units = units[real.rows]
    features = thumbnail_features(np.asarray(real.array))
    level = GateLimits().membership_alpha
    alarms = 0
    for split in range(options.splits):
        generator = generator_for(options.seed, "level", split)
        names = generator.permutation(np.unique(units))
        train, unseen, posers = (
            np.flatnonzero(np.isin(units, part))
            for part in np.split(names, [len(names) // 2, len(names) * 3 // 4])
        )
        release = np.concatenate(
            [posers[units[posers] == unit] for unit in generator.permutation(np.unique(units[posers]))]
        )[: min(options.release, round(0.65 * len(posers)))]
        found = joint_membership(
            {"thumbnails": Space(features[release], features[train], features[unseen])},
            train_groups=units[train],
            holdout_groups=units[unseen],
            train_labels=real.labels[train],
            holdout_labels=real.labels[unseen],
            permutations=999,
            seed=seed_for(options.seed, split),
        )
        alarms += found.p_value <= level and found.spaces["thumbnails"].advantage.value > 0
    interval = proportion_interval(alarms, options.splits, method="clopper-pearson")
    print(
        f"{alarms} of {options.splits} splits alarm: {alarms / options.splits:.1%} "
        f"({interval.low:.1%} to {interval.high:.1%}); the level is {level:.1%}"
    )


if __name__ == "__main__":
    main()
