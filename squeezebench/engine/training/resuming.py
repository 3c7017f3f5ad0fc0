"""Training that goes on in another process, to the same bits: what a checkpoint holds and how it is taken up.

A stage may end with another module than it began with (units cut out, matrices factorised). Structure is not stored:
the checkpoint keeps the state in which each finished stage ended, before `end_stage`, and resuming makes the same
calls again: build, load_dense, then for each finished stage its state and end_stage, then the state inside the
present one.
"""

from __future__ import annotations

import copy
import logging
from typing import Any

from torch import nn

from squeezebench.engine import provenance
from squeezebench.engine.training.snapshot import generators, put, take
from squeezebench.engine.training.stages import Running
from squeezebench.engine.training.state import CannotBeSaved, Decoder, Encoder
from squeezebench.schema import record

Trainer = Any  # training.Trainer, which imports this module
MISFITS = (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError)

log = logging.getLogger("squeezebench")


def save(trainer: Trainer, model: nn.Module, running: Running) -> None:
    """Write a checkpoint of a training that stands between two gradient steps, or in the validation after them."""
    method, encoder = trainer.method, Encoder(model)
    try:
        present = {
            "snapshot": take(encoder, model, method, running.drawn or generators(), method.train_step is not None),
            "optimiser": encoder.encode(running.optimiser.state_dict(), "the optimiser"),
            "schedule": encoder.encode(running.schedule.state_dict(), "the schedule"),
            "best": encoder.encode(running.best, "the best epoch"),
            "epoch": encoder.encode(vars(running.epoch), "the epoch"),  # its order and how far it is
            "seconds": running.seconds,
        }
        content = {
            "stages": [stage.model_dump() for stage in trainer.stages],
            "finished": trainer.finished,
            "present": present,
            "history": encoder.encode(trainer.history.rows, "observe()"),
            "order": encoder.encode(trainer.order.bit_generator.state, "the data order"),
            "resumed": trainer.resumed,
            "places": trainer.places,
            "watched": trainer.per_epoch.save() if trainer.per_epoch else None,
        }
    except CannotBeSaved as error:
        trainer.checkpoints.give_up(f"{method.name}: {error}")
        return
    trainer.checkpoints.write(content)


def finish(trainer: Trainer, model: nn.Module) -> None:
    """Keep the state in which a stage ended, for the checkpoints of the stages that follow it."""
    content = {}
    try:
        content = take(Encoder(model, copy=True), model, trainer.method, generators(), gradients=True)
    except CannotBeSaved as error:
        trainer.checkpoints.give_up(f"{trainer.method.name}: {error}")
    trainer.finished.append(content)


def resume(trainer: Trainer, start: nn.Module | None, length: int) -> tuple[nn.Module, Running] | None:
    """The module and its stage where the checkpoint left them; None where there is none that can be used.

    A checkpoint that does not fit (a method that builds otherwise each time) is logged; all is then as before.
    """
    kept = trainer.checkpoints.read()
    if kept is None:
        return None
    fresh = copy.deepcopy(vars(trainer.method))
    try:
        return _replay(trainer, copy.deepcopy(start), length, kept)
    except MISFITS as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        log.warning(f"{trainer.checkpoints.path}: does not fit the run ({reason}); training starts again")
        vars(trainer.method).clear()
        vars(trainer.method).update(fresh)
        trainer.forget()
        return None


def _replay(
    trainer: Trainer, start: nn.Module | None, length: int, content: dict[str, Any]
) -> tuple[nn.Module, Running]:
    model, method = trainer.build(start), trainer.method
    plan = trainer.plan(length)
    for number, part in enumerate(content["finished"]):
        trainer.open(model, plan, number)
        put(part, model, method)
        trainer.finished.append(part)
        model = trainer.end(model, plan[number][0], last=False)
    present = content["present"]
    running = trainer.open(model, plan, len(content["finished"]))
    put(present["snapshot"], model, method)
    decoder = Decoder(model)
    running.optimiser.load_state_dict(decoder.decode(present["optimiser"]))
    running.schedule.load_state_dict(decoder.decode(present["schedule"]))
    running.best = decoder.decode(present["best"])
    vars(running.epoch).update(decoder.decode(present["epoch"]))
    running.earlier = present["seconds"]
    trainer.stages = [record.Stage(**stage) for stage in content["stages"]]
    trainer.history.rows = decoder.decode(content["history"])
    trainer.order.bit_generator.state = decoder.decode(content["order"])
    trainer.resumed = content["resumed"] + 1
    trainer.places = [*content["places"], provenance.place(trainer.device)]
    trainer.earlier = running.earlier + sum(stage.seconds for stage in trainer.stages)
    if trainer.per_epoch and content["watched"] is not None:
        trainer.per_epoch.restore(content["watched"], model)
    where = f"stage {running.stage.name}, epoch {method.clock.epoch}, step {method.clock.step}"
    log.warning(f"{trainer.task.name} {method.name}: training goes on from a checkpoint, {where}")
    return model, running
