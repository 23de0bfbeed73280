"""Plots of a report, one topic a file: each gives an SVG in a data address, or None where there is nothing to draw."""
