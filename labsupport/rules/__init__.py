"""Training rules: frozen records; runs that differ in hyperparameters share a stack.

alternating  codes for the samples, then weights for the codes
backprop     the gradient of the loss
descent      SGD with momentum and Adam, along any gradient estimator
evolution    a genetic algorithm; evolution strategies as a gradient estimator
feedback     errors sent back through matrices that are not the weights
local        layers that learn from errors of their own
"""

from labsupport.rules.alternating import AlternatingMinimization, CodeGradient
from labsupport.rules.backprop import Backprop, gradients
from labsupport.rules.descent import DECAYED, SGD, Adam, EffectiveLRReplay, hidden_weights, weights
from labsupport.rules.evolution import EvolutionStrategy, GeneticAlgorithm
from labsupport.rules.feedback import DirectFeedbackAlignment, FeedbackAlignment
from labsupport.rules.local import Decoupled, Greedy, LocalErrors

__all__ = [
    "DECAYED",
    "SGD",
    "Adam",
    "AlternatingMinimization",
    "Backprop",
    "CodeGradient",
    "Decoupled",
    "DirectFeedbackAlignment",
    "EvolutionStrategy",
    "FeedbackAlignment",
    "EffectiveLRReplay",
    "GeneticAlgorithm",
    "Greedy",
    "LocalErrors",
    "gradients",
    "hidden_weights",
    "weights",
]
