"""A folder of DICOM files, of any nesting: CT series as volumes of slices in HU, ultrasound as grey pictures.

Series are told apart by their UID and slices sorted by where they lie, not by their numbers. Annotations (RT
structure sets, DICOM segmentations, XML boxes named after the picture) are found by SOP instance.

No name, id, date or UID enters the cohort: patient, volume and hospital become keyed hashes, and so do image ids. The
scanner's maker and model are kept.
"""

from datadouble.cohort.importers.dicom.source import read

__all__ = ["read"]
