"""Noise schedules, training objectives, samplers and guidance: what turns a network into a generator."""
