"""The configuration of recipe ``lesion``: each stage brings its own section."""

from dataclasses import dataclass, field

from datadouble.recipes.lesion.blending import BlendOptions
from datadouble.recipes.lesion.lesion_stage import LesionOptions, SamplingOptions
from datadouble.recipes.lesion.material import DataOptions
from datadouble.recipes.lesion.placement_stage import PlacementOptions
from datadouble.recipes.lesion.repair_stage import RepairOptions
from datadouble.recipes.lesion.stable_diffusion import StableDiffusionOptions
from datadouble.recipes.lesion.verify import VerifyOptions


@dataclass(frozen=True)
class LesionConfig:
    """All of a run of the three stages; with a `stable_diffusion.folder` that draws the lesions, not ``[lesion]``."""

    data: DataOptions = field(default_factory=DataOptions)
    lesion: LesionOptions = field(default_factory=LesionOptions)
    stable_diffusion: StableDiffusionOptions = field(default_factory=StableDiffusionOptions)
    placement: PlacementOptions = field(default_factory=PlacementOptions)
    blend: BlendOptions = field(default_factory=BlendOptions)
    repair: RepairOptions = field(default_factory=RepairOptions)
    verify: VerifyOptions = field(default_factory=VerifyOptions)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
