"""How often burned-in words and marks are found in a double, beside cleaned and uncleaned scans.

    python benchmarks/annotations.py DOUBLE --cleaned COHORT --uncleaned COHORT [--images 100]

All pictures are brought to the double's size and then enlarged to 360 px, so that the finder sees the same blur
everywhere. The cleaned scans give its false alarms (and what the cleaning left), the uncleaned ones what it can find
at this size.
"""

from pathlib import Path

import numpy as np

from datadouble.cohort import Cohort
from datadouble.cohort.deidentify import find_annotations
from datadouble.cohort.pixels import fit_square
from datadouble.randomness import generator_for
from datadouble.stats import proportion_interval
from script import parser_of

KINDS = (("words or logos", ("text", "logo")), ("calipers", ("caliper", "dotted-line")))


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("double", type=Path)
    parser.add_argument("--cleaned", type=Path, required=True)
    parser.add_argument("--uncleaned", type=Path, required=True)
    parser.add_argument("--images", type=int, default=100)
    options = parser.parse_args()
    double = Cohort.open(options.double)
    size = double.image(0).shape[0]
    rows = (("double", double), ("cleaned scans", Cohort.open(options.cleaned)))
    print("| pictures | n | words or logos | calipers |\n|---|---|---|---|")
    for name, cohort in (*rows, ("uncleaned scans", Cohort.open(options.uncleaned))):
        chosen = generator_for(0, "annotations").permutation(len(cohort))[: options.images]
        counts = np.zeros(len(KINDS), dtype=int)
        for i in chosen:
            picture = fit_square(fit_square(cohort.image(int(i)), size), 360)
            found = find_annotations(picture)
            counts += [any(item.kind in kinds for item in found.items) for _, kinds in KINDS]
        cells = []
        for count in counts:
            low, high = proportion_interval(int(count), len(chosen))
            cells.append(f"{100 * count / len(chosen):.0f}% ({100 * low:.0f}, {100 * high:.0f})")
        print(f"| {name} | {len(chosen)} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
