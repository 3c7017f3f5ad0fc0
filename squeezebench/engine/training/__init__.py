"""Training: one loop for every method, in stages, resumable to the bit.

loop: the loop and its settings. optimisers: Adam, SGD, schedules. augment: images moved and mirrored. stages: where a
training stands. evaluation: predictions and accuracy. state, snapshot, checkpoint, resuming: what is kept, of what,
where, and how training goes on from it. as_released: the best test epoch.
"""

from squeezebench.engine.training.evaluation import Diverged, accuracy, batches, predict
from squeezebench.engine.training.loop import History, Trainer, describe, divide_length, pick_device, seed_everything
from squeezebench.schema.training import Augment, TrainingSettings

__all__ = [
    "Augment",
    "Diverged",
    "History",
    "Trainer",
    "TrainingSettings",
    "accuracy",
    "batches",
    "describe",
    "divide_length",
    "pick_device",
    "predict",
    "seed_everything",
]
