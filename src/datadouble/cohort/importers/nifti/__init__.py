"""NIfTI volumes with their label volumes, as axial slices in one orientation.

Layouts: the Medical Segmentation Decathlon's and nnU-Net's (``imagesTr``, ``labelsTr``, ``dataset.json``), names that
go together (``a.nii.gz`` and ``a_seg.nii.gz``), folders ``images`` and ``labels``, or a CSV.

Volumes are brought to the nearest axes of the patient (nibabel's `as_closest_canonical`); pictures show the front above
and the patient's right side on the left, and slice 0 is the lowest: the same as of axial DICOM series.
"""

from datadouble.cohort.importers.nifti.source import read

__all__ = ["read"]
