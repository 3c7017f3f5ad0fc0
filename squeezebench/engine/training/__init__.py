"""Training: one loop for every method, in stages, resumable to the bit.

loop: the loop and its settings. optimisers: Adam, SGD, schedules. augment: images moved and mirrored. stages: where a
training stands. evaluation: predictions and accuracy. state, snapshot, checkpoint, resuming: what is kept, of what,
where, and how training goes on from it. as_released: the best test epoch.
"""
