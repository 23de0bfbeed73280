"""Measuring a double against the real cohort it stands for; knows cohorts, not recipes."""
