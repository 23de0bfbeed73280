"""The membership attack in DiffGuard's code: an attack model that learned from a shadow model how members look.

A segmentation network (the victim) was trained on real pictures or on a double. The attacker trains one of their
own (the shadow) on half of some pictures that they hold, and learns to tell that half from the other by mask and
prediction together. The same attack model is then shown the victim's predictions on real pictures. In the paper's
code it is a ResNet-50 over both masks, trained for 500 epochs; here a logistic regression over how the two differ
(overlap, areas, missed and added pixels, distance of centres and of outlines, each by class), which needs no GPU
and a few dozen pictures.
"""

from __future__ import annotations

import numpy as np

from datadouble.audit.privacy.permutation import own_groups, permutation_test, ranks_within, two_sides
from datadouble.audit.privacy.two_cohorts import TwoCohortResult, attack_rates
from datadouble.errors import DataDoubleError

ATTACKER = (
    "sees a segmentation network trained on the release, holds pictures with masks, and has trained a shadow network "
    "and an attack model on pictures of their own: calls members what the attack model takes for one"
)


def shadow_model_attack(
    shadow_masks: np.ndarray,
    shadow_predictions: np.ndarray,
    shadow_member: np.ndarray,
    masks: np.ndarray,
    predictions: np.ndarray,
    member: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    sites: np.ndarray | None = None,
    permutations: int = 9999,
    seed: int = 0,
    confidence: float = 0.95,
) -> TwoCohortResult:
    """Membership of real pictures by an attack model that was trained on a shadow network's predictions.

    Parameters
    ----------
    shadow_masks, shadow_predictions : ndarray of int
        (k, s, s) class ids: true masks, and what the shadow network says.
    shadow_member : ndarray of bool
        (k,): whether the shadow network was trained on the picture.
    masks, predictions, member, groups
        The same for the victim and real pictures (n, s, s); ``groups`` (n,) are their patients.
    sites : ndarray, optional
        (n,) centres, within which the test deals patients anew.

    Raises
    ------
    DataDoubleError
        Where the shadow pictures are all members, or none is.
    """
    from sklearn.linear_model import LogisticRegression

    known = np.asarray(shadow_member, dtype=bool)
    inside = np.asarray(member, dtype=bool)
    if known.all() or not known.any():
        raise DataDoubleError(
            "the attack model needs pictures that the shadow network learned from, and others",
            found=f"{int(known.sum())} of {len(known)} pictures are members",
            remedy="train the shadow network on half of them",
        )
    classes = int(max(part.max(initial=1) for part in (shadow_masks, shadow_predictions, masks, predictions)))
    learn = mask_differences(shadow_masks, shadow_predictions, classes)
    target = mask_differences(masks, predictions, classes)
    spread = learn.std(axis=0)
    scale = np.where(spread > 0, spread, np.inf)
    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    model.fit((learn - learn.mean(axis=0)) / scale, known)
    scores = model.decision_function((target - learn.mean(axis=0)) / scale)

    of = own_groups(groups, len(inside), "picture").astype(str)
    order = np.argsort(~inside, kind="stable")  # members first
    places = None if sites is None else np.asarray(sites).astype(str)
    patients = two_sides(
        of[inside],
        of[~inside],
        None if places is None else places[inside],
        None if places is None else places[~inside],
        seed=seed,
    )
    average = np.bincount(patients.code, weights=scores[order]) / patients.sizes
    tested = permutation_test(
        ranks_within(average, patients.stratum),
        patients.member,
        patients.stratum,
        permutations=permutations,
        seed=seed,
    )
    called = (scores[order] > 0).astype(np.float64)
    rates = attack_rates(called, inside[order], patients.code, confidence)
    return TwoCohortResult(rates, {}, tested.p_value, 0, 0.0, "shadow", ATTACKER)


def mask_differences(masks: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """(n, 6 * classes): for each class but the background Dice, both areas, missed and added pixels, and distances.

    Areas are shares of the picture. The last entry is the mean distance from the predicted outline to the true
    one, plus that of the centres, as shares of the side; 0 where either mask is empty.
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt

    side = masks.shape[1]
    rows = []
    for truth, said in zip(np.asarray(masks), np.asarray(predictions), strict=True):
        row: list[float] = []
        for name in range(1, classes + 1):
            a, b = truth == name, said == name
            both, of_a, of_b = float((a & b).mean()), float(a.mean()), float(b.mean())
            dice = 2 * both / (of_a + of_b) if of_a + of_b else 1.0
            apart = 0.0
            if of_a and of_b:
                outline_a, outline_b = a & ~binary_erosion(a), b & ~binary_erosion(b)
                apart = float(distance_transform_edt(~outline_a)[outline_b].mean()) / side
                centres = [np.argwhere(part).mean(axis=0) for part in (a, b)]
                apart += float(np.linalg.norm(centres[0] - centres[1])) / side
            row += [dice, of_a, of_b, of_a - both, of_b - both, apart]
        rows.append(row)
    return np.array(rows)
