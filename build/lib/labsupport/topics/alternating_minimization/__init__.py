"""Alternating minimization: codes for the samples, then weights for the codes."""
