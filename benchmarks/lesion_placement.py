"""What the placement stage of recipe `lesion` knows on patients it never saw, and what hiding gives away.

    python benchmarks/lesion_placement.py COHORT RUN --out results/lesion/placement.json

RUN is the folder of a trained placement stage (`RUN/placement` of a lesion run). Two
questions, on the cohort's test split:

- nats: log-density of where the hidden lesions lay, how large and at what angle, beside the prior's, which does not
  look at the picture; the difference with its interval over patients.
- leak: in healthy pictures, the same decoys are made (something is hidden where nothing was). What the density draws
  to them, as a log ratio, is what hiding itself gives away; and a classifier of crops is trained to tell decoys from
  untouched places, beside the same for regions filled with their mean grey.
"""

import json
from pathlib import Path

import numpy as np
import torch

from datadouble import files
from datadouble.cohort import Cohort
from datadouble.networks.placement import log_places
from datadouble.progress import track
from datadouble.randomness import generator_for
from datadouble.recipes.lesion.hiding import hide, region_at
from datadouble.recipes.lesion.material import HEALTHY, DataOptions, Pictures, _read, read_material
from datadouble.recipes.lesion.placement_stage import drawn_to
from datadouble.recipes.lesion.placement_views import Views, found_in
from datadouble.recipes.lesion.placer import FACTORS, Placer, allowed_patches
from datadouble.stats import bootstrap, roc_auc
from script import parser_of

CROP = 48  # pixels round a place that the classifier sees


def interval(values: np.ndarray, groups: list[str]) -> dict[str, float]:
    """Mean of `values` (n,) with its interval over patients."""
    found = bootstrap(lambda x: float(np.mean(x)), values, groups=groups, seed=0)
    return {"value": found.value, "low": found.low, "high": found.high, "n": len(values)}


def nats(placer: Placer, test: Pictures, train: Pictures) -> dict:
    """Log-densities of the test split's hidden lesions, and their differences to the prior's."""
    views = Views(test, train, seed=1, decoys=1)
    found, _ = found_in(test)
    rows = {name: [] for name in (*FACTORS, "total")}
    for i, row in enumerate(track(test.lesions, "lesions", total=len(test.lesions))):
        log = placer.log_densities(views.of(int(row), 0).plain, found, i)
        gains = {}
        for name in FACTORS:
            network, prior = log[name]
            w = placer.weights[name]
            mixed = np.logaddexp(np.log(max(w, 1e-12)) + network, np.log(max(1 - w, 1e-12)) + prior)
            gains[name] = mixed - prior
            rows[name].append((prior, network, mixed))
        rows["total"].append((0.0, 0.0, sum(gains.values())))
    groups = [test.patients[row] for row in test.lesions]
    result = {}
    for name, values in rows.items():
        prior, network, mixed = np.array(values).T
        result[name] = {"mixture_over_prior": interval(mixed - prior, groups)}
        if name != "total":
            result[name] |= {
                "prior": round(float(prior.mean()), 4),
                "network_over_prior": interval(network - prior, groups),
            }
        for label, title in enumerate(placer.classes):
            own = found.label == label
            result[name][title] = round(float((mixed - prior)[own].mean()), 4)
    return result


def leak(placer: Placer, healthy: Pictures, train: Pictures) -> dict:
    """What decoys draw to themselves in healthy pictures: log ratio of the network's probability of their patches."""
    views, values, groups = Views(healthy, train, seed=2, decoys=2), [], []
    for row in track(range(len(healthy)), "healthy pictures", total=len(healthy)):
        for variant in range(2):
            view = views.of(row, variant)
            allowed, decoys = (
                torch.from_numpy(allowed_patches(part[None], placer.grid))
                for part in (view.tissue, view.decoys)
            )
            for label in range(len(placer.classes)):
                seen = [placer._look(image, label, None) for image in (view.decoyed, view.plain)]
                assert seen[0] is not None and seen[1] is not None
                values.append(float(drawn_to(seen[0], seen[1], allowed, decoys)[0]))
                groups.append(healthy.patients[row])
                assert log_places(seen[0].scores, allowed).exp().sum() > 0.99
    return interval(np.array(values), groups)


def crops(
    pictures: Pictures, train: Pictures, kind: str, per_picture: int
) -> tuple[np.ndarray, np.ndarray, list]:
    """Crops (n, CROP, CROP) round places, half of them hidden as `kind` says; their truth, and their patients."""
    views = Views(pictures, train, seed=3, decoys=1)
    side, found, truth, groups = pictures.images.shape[1], [], [], []
    nothing = np.zeros((side, side), dtype=bool)
    for row in track(range(len(pictures)), kind, total=len(pictures)):
        random = generator_for(4, pictures.ids[row])
        for k in range(per_picture):
            image = pictures.images[row]
            cover = views._shapes[int(random.integers(len(views._shapes)))]
            at = random.uniform(CROP / 2, side - CROP / 2, 2)
            region = region_at(cover, at[0], at[1], side)
            if k % 2:
                if kind == "hidden":
                    image = hide(image, region, nothing, views._donors, random)
                else:
                    image = np.where(region, np.uint8(image[region].mean()), image)
            top, left = (int(v - CROP / 2) for v in at)
            found.append(image[top : top + CROP, left : left + CROP])
            truth.append(k % 2)
            groups.append(pictures.patients[row])
    return np.stack(found), np.array(truth), groups


def classifier(train: tuple, test: tuple, epochs: int) -> dict[str, float]:
    """AUC on test crops of a small network that learned on the training crops."""
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for before, after in ((1, 16), (16, 32), (32, 64)):
        layers += [torch.nn.Conv2d(before, after, 3, 2, 1), torch.nn.GroupNorm(4, after), torch.nn.GELU()]
    net = torch.nn.Sequential(
        *layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(64, 1)
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    x, y = (torch.from_numpy(np.asarray(v, dtype=np.float32)) for v in train[:2])
    for _ in track(range(epochs), "classifier", total=epochs):
        for rows in torch.randperm(len(x)).split(64):
            grey = x[rows, None] / 127.5 - 1
            grey = torch.where(torch.rand(len(rows), 1, 1, 1) < 0.5, grey.flip(-1), grey)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(net(grey)[:, 0], y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        scores = net.eval()(torch.from_numpy(test[0].astype(np.float32))[:, None] / 127.5 - 1)[:, 0].numpy()
    found = roc_auc(test[1], scores, groups=test[2])
    return {"value": found.value, "low": found.low, "high": found.high, "n": len(scores)}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    cohort = Cohort.open(options.cohort)
    placer = Placer.load(options.run, torch.device("cpu"))
    data = DataOptions(size=placer.size)
    material = read_material(cohort, data)
    test, _ = _read(cohort.filter(split=options.split), material.classes, data)
    healthy = test.take(np.flatnonzero(test.labels == HEALTHY))
    own = material.train.take(material.train.healthy)
    result = {
        "split": options.split,
        "weights": placer.weights,
        "nats": nats(placer, test, material.train),
        "leak": leak(placer, healthy, material.train),
    }
    for kind in ("hidden", "filled with grey"):
        made = [crops(part, material.train, kind, 12) for part in (own, healthy)]
        result[f"classifier of crops, {kind} against untouched"] = classifier(*made, options.epochs)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(options.out, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
