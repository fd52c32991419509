"""Dropout in the lecture's and in the inverted form, its ensemble, Monte Carlo dropout."""
