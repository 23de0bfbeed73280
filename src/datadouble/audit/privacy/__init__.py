"""Privacy: what a double gives away about the patients that its generator learned from."""

from datadouble.audit.privacy.neighbours import NearerToTrain, Neighbours, nearer_to_train, nearest_neighbours

__all__ = ["NearerToTrain", "Neighbours", "nearer_to_train", "nearest_neighbours"]
