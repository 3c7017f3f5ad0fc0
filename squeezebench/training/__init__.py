"""Training: one loop for every method, in stages, resumable to the bit.

loop: the loop and its settings. augment: images moved and mirrored. stages: where a training stands. evaluation:
predictions and accuracy. state, snapshot, checkpoint, resuming: what is kept, of what, where, and how training goes on
from it. as_released: the best test epoch.
"""

from .augment import Augment
from .evaluation import Diverged, accuracy, batches, predict
from .loop import History, Trainer, TrainingSettings, describe, divide_epochs, pick_device, seed_everything

__all__ = [
    "Augment",
    "Diverged",
    "History",
    "Trainer",
    "TrainingSettings",
    "accuracy",
    "batches",
    "describe",
    "divide_epochs",
    "pick_device",
    "predict",
    "seed_everything",
]
