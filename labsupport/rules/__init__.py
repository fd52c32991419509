"""How parameters change. A rule is a frozen record for the one loop; runs that differ in its float fields share a stack.

    backprop    the gradient of the loss
    descent     SGD with momentum and Adam, along whatever a gradient source brings
    local       layers that learn from errors of their own
"""

from labsupport.rules.backprop import Backprop, gradients
from labsupport.rules.descent import DECAYED, SGD, Adam, FollowingSGD, hidden_weights, weights
from labsupport.rules.local import Decoupled, Greedy, LocalErrors

__all__ = ["DECAYED", "SGD", "Adam", "Backprop", "Decoupled", "FollowingSGD", "Greedy", "LocalErrors", "gradients", "hidden_weights", "weights"]
