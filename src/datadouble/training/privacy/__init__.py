"""Training under differential privacy, one record a patient."""
