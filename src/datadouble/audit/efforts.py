"""How much work an audit puts into each of its parts."""

from __future__ import annotations

from dataclasses import dataclass

from datadouble.audit.choices import choose


@dataclass(frozen=True)
class Effort:
    """One named amount of work.

    Parameters
    ----------
    name : str
    resamples, repeats : int
        Bootstrap resamples of an interval; random draws of equal size for values and floors.
    permutations : int
        Of each permutation test.
    neighbours : int
        Synthetic pictures whose nearest training picture is shown and described (500 in the CoLDiT paper).
    utility, segmentation, realism : str
        Presets of the trained networks; empty: not trained.
    utility_arms : tuple of str
        Arms of the usefulness test; empty: all that the paper has and half real alone.
    precision : str
        Of the features: ``"fp32"``, or ``"auto"``, which is several times faster where the hardware multiplies bf16 and
        changes the nearest neighbour of one picture in four.
    extractors : tuple of str
        Further extractors for distances and probes.
    release_orders : int
        Random orders of the double for the curve over release size.
    control_shares : tuple of float
        Shares of the double that the planted copies make up.
    """

    name: str
    resamples: int = 200
    repeats: int = 10
    permutations: int = 9999
    neighbours: int = 500
    utility: str = "features"
    utility_arms: tuple[str, ...] = ()
    segmentation: str = "cpu"
    realism: str = "cpu"
    precision: str = "fp32"
    extractors: tuple[str, ...] = ()
    release_orders: int = 5
    control_shares: tuple[float, ...] = (0.001, 0.01, 0.1)


EFFORTS = {
    "demo": Effort(
        "demo",
        resamples=50,
        repeats=5,
        permutations=1999,
        precision="auto",
        neighbours=300,
        utility_arms=("real", "synthetic"),
        segmentation="",
        realism="",
        release_orders=2,
        control_shares=(0.01, 0.1),
    ),
    "standard": Effort("standard"),
    "thorough": Effort("thorough", resamples=1000, repeats=20, utility="cpu", extractors=("radiomics",)),
    # The papers' networks; for a GPU.
    "paper": Effort(
        "paper", resamples=1000, repeats=20, utility="coldit", segmentation="unet-256", realism="paper"
    ),
}


def choose_effort(name: str | Effort) -> Effort:
    """The effort of that name; one that is given as such passes unchanged. All that it names exists.

    Raises
    ------
    DataDoubleError
        For an unknown name, or an effort with an unknown preset, arm or extractor.
    """
    from datadouble.audit.features.registry import EXTRACTORS
    from datadouble.audit.realism import REALISM_PRESETS
    from datadouble.audit.utility.arms import check_arms
    from datadouble.audit.utility.presets import SEGMENTATION_PRESETS, UTILITY_PRESETS

    effort = choose("effort", name, EFFORTS)
    for preset, known in (
        (effort.utility, UTILITY_PRESETS),
        (effort.segmentation, SEGMENTATION_PRESETS),
        (effort.realism, REALISM_PRESETS),
    ):
        if preset:
            choose("preset", preset, known)
    check_arms(effort.utility_arms)
    for extractor in effort.extractors:
        choose("extractor", extractor, EXTRACTORS)
    return effort
