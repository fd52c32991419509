"""Backpropagation by hand, and what activations do to the gradient's way down."""
