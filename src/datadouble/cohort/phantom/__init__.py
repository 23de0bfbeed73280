"""Simulated scans: the embedded stand-in for a hospital's pictures, for the demo, the tests and the documentation."""

from datadouble.cohort.phantom.scan import Annotation, PhantomScan
from datadouble.cohort.phantom import ultrasound


def draw(kind: str, patient: int, picture: int, label: str, *, size: int = 128, seed: int = 0) -> PhantomScan:
    return ultrasound.draw(patient, picture, label, size=size, seed=seed)

__all__ = ["Annotation", "PhantomScan", "draw"]
