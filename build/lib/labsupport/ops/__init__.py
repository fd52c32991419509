"""What the training loop and several topics compute with: pure functions of tensors.

alternating_minimization  codes and weights by majorized and closed-form steps
augmentation              crops, flips, rotations, cutout of image batches
mixup                     blended samples and labels
standardization           columns with mean 0 and variance 1
"""
