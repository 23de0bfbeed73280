"""Reports of an audit: one self-contained HTML file beside the evidence."""

from datadouble.audit.report.first import first_report

__all__ = ["first_report"]
