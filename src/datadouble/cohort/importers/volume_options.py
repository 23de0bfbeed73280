"""What can be asked of the importers of volumes, `dicom` and `nifti`."""

from dataclasses import dataclass

from datadouble.cohort.hounsfield import FULL_RANGE, window_limits
from datadouble.errors import DataDoubleError, suggest

CROPS = ("auto", "none", "lungs", "regions")


@dataclass(frozen=True)
class VolumeOptions:
    """How volumes and frames become pictures.

    Parameters
    ----------
    window
        Level and width in HU of 8-bit CT pictures. (0, 400) is the paper's (Zhou et al., npj Digit Med 2024).
    depth
        8, or 16 to keep all of -1024 to 3071 HU, exactly.
    crop
        ``"lungs"``: to the box of both lungs; ``"regions"``: of ultrasound, to the part that the scanner declares
        to be the scan (Sequence of Ultrasound Regions), without the banner that names the patient; ``"auto"``:
        regions for ultrasound, nothing for CT; ``"none"``.
    margin_mm
        Left around the lungs.
    box_masks
        Draw masks from boxes too; a box is no outline.
    incomplete
        Keep volumes with gaps or with one slice, which are refused otherwise.
    rescale
        Slope and intercept that make stored values HU, for files that do not say.
    pair
        Kind `nifti`: the names of a volume and its label volume, with ``{case}`` in both.
    """

    window: tuple[float, float] = (0.0, 400.0)
    depth: int = 8
    crop: str = "auto"
    margin_mm: float = 10.0
    box_masks: bool = False
    incomplete: bool = False
    rescale: tuple[float, float] | None = None
    pair: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        window_limits(*self.window)
        if self.depth not in (8, 16):
            raise DataDoubleError("pictures have 8 or 16 bits", where="--depth", found=str(self.depth))
        if self.crop not in CROPS:
            raise DataDoubleError(
                "there is no such crop",
                where="--crop",
                found=self.crop,
                remedy=suggest(self.crop, list(CROPS)),
            )
        if self.pair is not None and any(name.count("{case}") != 1 for name in self.pair):
            raise DataDoubleError(
                "each name of the pair needs {case} once",
                where="--pair",
                found=", ".join(self.pair),
                remedy="for example '{case}_ct.nii.gz,{case}_seg.nii.gz'",
            )

    def check_crop(self, modality: str) -> None:
        """Refuse a crop that pictures of `modality` cannot have, rather than leave them whole.

        Raises
        ------
        DataDoubleError
            For lungs of anything but CT, and regions of anything but ultrasound.
        """
        wanted = {"lungs": "CT", "regions": "ultrasound"}.get(self.crop)
        if wanted is not None and modality and modality != wanted:
            raise DataDoubleError(
                f"only {wanted} can be cropped so",
                where="--crop",
                found=f"{self.crop} of {modality}",
                remedy="leave --crop out",
            )

    @property
    def limits(self) -> tuple[float, float]:
        """The HU of the least and the greatest grey level."""
        return FULL_RANGE if self.depth == 16 else window_limits(*self.window)
