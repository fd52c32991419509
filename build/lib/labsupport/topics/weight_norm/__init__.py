"""Weight norm: direction and length of a weight vector as separate parameters."""
