"""Reports of an audit: one self-contained HTML file beside the evidence."""

from datadouble.audit.report.page import ReportContext, write_report

__all__ = ["ReportContext", "write_report"]
