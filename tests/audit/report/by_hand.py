"""Evidence of the parts that take long to measure, written by hand."""


def estimate(value, low, high, n=60, **more):
    return {"value": value, "low": low, "high": high, "n": n, **more}


def model_access():
    attack = {
        "name": "loss",
        "words": "the denoising loss",
        "auc": estimate(0.61, 0.52, 0.70),
        "membership_advantage": estimate(0.2, 0.05, 0.3),
        "tpr_at_fpr": [estimate(0.05, 0.01, 0.1, fpr=rate, resolved=True) for rate in (0.01, 0.001)],
        "p_value": 0.01,
        "p_holm": 0.02,
        "auc_given_picture": estimate(0.6, 0.5, 0.7),
    }
    return {
        "attacker": "Someone who holds the weights.",
        "finding": "found",
        "reasons": ["loss: AUC 0.610"],
        "strongest": "loss",
        "member_patients": 20,
        "other_patients": 20,
        "attacks": [attack],
        "control_without_weights": attack | {"name": "blind"},
        "dataset_inference": {"p_value": 0.03},
        "dataset_inference_without_weights": {"p_value": 0.6},
        "loss_by_time": [{"time": t, "auc": estimate(0.6, 0.5, 0.7)} for t in (0.1, 0.5, 0.9)],
    }


def usefulness():
    curve = {"fpr": [0.0, 0.5, 1.0], "tpr": [0.0, 0.8, 1.0]}
    against = {
        "difference": estimate(-0.01, -0.04, 0.02),
        "equivalent": True,
        "equivalence_p": 0.02,
        "delong_p": 0.6,
        "delong_p_holm": 0.7,
        "wilcoxon_p": 0.5,
        "verdict": "equivalent",
    }
    arm = {
        "train_real": 40,
        "train_synthetic": 0,
        "auc": estimate(0.85, 0.8, 0.9),
        "sensitivity": estimate(0.8, 0.7, 0.9),
        "specificity": estimate(0.7, 0.6, 0.8),
        "f1": estimate(0.75, 0.65, 0.85),
        "roc": curve,
        "dice": estimate(0.8, 0.75, 0.85),
        "hausdorff95": estimate(6.0, 5.0, 8.0),
        "quintiles": [
            {"largest_area_percent": 2.0 * i, "dice": estimate(0.8, 0.7, 0.9)} for i in range(1, 6)
        ],
    }
    arms = {
        "real": arm | {"words": "real"},
        "synthetic": arm | {"words": "synthetic", "against_real": against},
    }
    controls = {"real_as_double": arm | {"words": "control", "against_real": against, "passed": True}}
    shared = {
        "preset": {"name": "cpu", "network": "resnet50"},
        "n": {"test": 40, "test_patients": 20},
        "trainings": 5,
        "steps": 100,
        "margin": 0.05,
        "arms": arms,
        "controls": controls,
    }
    head = {
        "difference": against["difference"],
        "equivalent": True,
        "verdict": "equivalent",
        "controls_passed": True,
    }
    return {
        "classification": shared
        | {
            "task": {"negative": ["3"], "positive": ["4"]},
            "headline": head
            | {
                "auc_real": estimate(0.85, 0.8, 0.9),
                "auc_synthetic": estimate(0.84, 0.79, 0.89),
                "gain_over_half_real": estimate(0.02, 0.0, 0.04),
            },
            "notes": ["A note."],
        },
        "segmentation": shared
        | {
            "floor": 0.3,
            "headline": head
            | {"dice_real": estimate(0.8, 0.75, 0.85), "dice_synthetic": estimate(0.79, 0.74, 0.84)},
        },
    }


def realism():
    controls = {
        "planted": {"auc": estimate(0.99, 0.97, 1.0), "passed": True},
        "real_against_real": {"auc": estimate(0.5, 0.4, 0.6), "passed": True},
    }
    found = {
        "auc": estimate(0.52, 0.45, 0.6),
        "n": 40,
        "n_double": 40,
        "controls": controls,
        "controls_passed": True,
    }
    network = {
        "patients": 20,
        "size": 32,
        "preset": {"name": "cpu", "network": "small"},
        "roc": {"fpr": [0.0, 0.5, 1.0], "tpr": [0.0, 0.5, 1.0]},
        "grey_levels_only": estimate(0.5, 0.4, 0.6),
    }
    return {
        "discriminator": found | network,
        "probes": {"patches": found | {"name": "linear probe(patches)"}},
    }


def controls():
    def control(name, pictures, planted, found):
        return {
            "name": name,
            "done": "done",
            "expected": "alarm",
            "found": found,
            "ok": True,
            "pictures": pictures,
            "planted": planted,
            "recalled": planted,
            "details": {},
        }

    return {
        "ok": True,
        "caught_planted": True,
        "caught_overfitted": True,
        "passed_clean": True,
        "recall": {"copies": estimate(1.0, 0.4, 1.0, 4), "crops": estimate(0.75, 0.2, 0.99, 4)},
        "controls": [
            control("planted: copies, 1.0%", 400, 4, "alarm; 4 of 4 named"),
            control("planted: crops, 1.0%", 400, 4, "alarm; 4 of 4 named"),
            control("overfitted", 400, 0, "alarm"),
            control("unseen patients", 40, 0, "no alarm"),
        ],
    }
