"""The statistics of a reader study: evidence, tables, plots and pages from the answers that readers gave."""

from datadouble.study.analysis.analyse import analyse_answers, analyse_study, read_analysis
from datadouble.study.analysis.page import section_html

__all__ = ["analyse_answers", "analyse_study", "read_analysis", "section_html"]
