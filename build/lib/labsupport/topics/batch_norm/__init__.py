"""Batch norm, forward and backward, its modes and what it does to the loss landscape."""
