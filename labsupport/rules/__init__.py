"""How parameters change. A rule is a frozen record for the one loop; runs that differ in its float fields share a stack.

    backprop    the gradient of the loss
    descent     SGD with momentum and Adam, along whatever a gradient source brings
    feedback    errors sent back through matrices that are not the weights
"""

from labsupport.rules.backprop import Backprop, gradients
from labsupport.rules.descent import DECAYED, SGD, Adam, FollowingSGD, hidden_weights, weights
from labsupport.rules.feedback import DirectFeedbackAlignment, FeedbackAlignment

__all__ = ["DECAYED", "SGD", "Adam", "Backprop", "DirectFeedbackAlignment", "FeedbackAlignment", "FollowingSGD", "gradients", "hidden_weights", "weights"]
