"""What a chapter imports: the public names of the core, from one place.

    from labsupport.notebook import MLP, SGD, Arm, Recipe, check, claims, compare, grid, study

The names stay where they are defined; this is the shelf that they are taken from.
"""

from labsupport import claims, compare, datasets, landscape, plots, runtime, train
from labsupport.augment import Cutout, Mixup, RandomCrop, RandomFlip, RandomRotation
from labsupport.compare import where
from labsupport.exercises import check
from labsupport.explore import explore
from labsupport.listing import listing
from labsupport.models import CNN, MLP, LocalMLP, Vmapped
from labsupport.probes.signals import dead_units, gradient_norms, signals
from labsupport.probes.weights import jacobian_norm, weight_norms
from labsupport.rules import (
    SGD,
    Adam,
    AlternatingMinimization,
    Backprop,
    CodeGradient,
    Decoupled,
    DirectFeedbackAlignment,
    EffectiveLRReplay,
    EvolutionStrategy,
    FeedbackAlignment,
    GeneticAlgorithm,
    Greedy,
    LocalErrors,
)
from labsupport.study import grid, study, vary
from labsupport.types import Arm, Dataset, Interval, Recipe, Result

__all__ = [
    "CNN",
    "MLP",
    "SGD",
    "Adam",
    "AlternatingMinimization",
    "Arm",
    "Backprop",
    "CodeGradient",
    "Cutout",
    "Dataset",
    "Decoupled",
    "DirectFeedbackAlignment",
    "EffectiveLRReplay",
    "EvolutionStrategy",
    "FeedbackAlignment",
    "GeneticAlgorithm",
    "Greedy",
    "Interval",
    "LocalErrors",
    "LocalMLP",
    "Mixup",
    "RandomCrop",
    "RandomFlip",
    "RandomRotation",
    "Recipe",
    "Result",
    "Vmapped",
    "check",
    "claims",
    "compare",
    "datasets",
    "dead_units",
    "explore",
    "gradient_norms",
    "grid",
    "jacobian_norm",
    "landscape",
    "listing",
    "plots",
    "runtime",
    "signals",
    "study",
    "train",
    "vary",
    "weight_norms",
    "where",
]
