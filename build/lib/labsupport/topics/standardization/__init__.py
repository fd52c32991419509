"""Standardized inputs and the conditioning of the loss."""
