"""Data augmentation: crops, flips, rotations, and how many versions of an image there are."""
