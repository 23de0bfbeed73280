"""Simulated scans: the embedded stand-in for a hospital's pictures, for the demo, the tests and the documentation."""

from datadouble.cohort.phantom.kinds import KINDS, Phantom, draw, phantom
from datadouble.cohort.phantom.scan import Annotation, PhantomScan

__all__ = ["KINDS", "Annotation", "Phantom", "PhantomScan", "draw", "phantom"]
