"""Mixup and manifold mixup: blended samples, blended labels."""
