"""Initial weights: symmetry, variances layer by layer, how far training gets from them."""
