"""The pipeline with a process for each module: what depth-parallel training gains on real cores.

Neighbours exchange activations and pseudo-gradients through shared memory, two places an edge. Each module has its own
optimiser, as each device has in the paper; nobody waits but for the messages of the tick before. The result is that of
`sideways_gradients` and one optimiser, bit for bit. With an optimiser that mixes the parameters of several modules (a
common norm clipped) it would not be.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

import torch
from torch import Tensor, multiprocessing, nn

from squeezebench.base.errors import InputError
from squeezebench.nn.sideways.network import SidewaysNet, frame_weights
from squeezebench.nn.sideways.rule import Worker, share_of, target_at, total
from squeezebench.nn.sideways.timetable import Timetable

log = logging.getLogger(__name__)

Optimiser = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
PLACES = 2  # messages an edge holds: a module is never more than a tick ahead of one that reads it


@dataclass
class Report:
    """What a module's process says after a clip."""

    loss: float  # of the top, 0 elsewhere
    busy: float  # seconds of computing, waiting for messages not included
    ticks: int  # at which it worked


class _Channel:
    """Messages of one shape from one process to another, in order."""

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, context):
        self.buffer = torch.empty(PLACES, *shape, dtype=dtype).share_memory_()
        self.free, self.filled, self.sent, self.read = context.Semaphore(PLACES), context.Semaphore(0), 0, 0

    def send(self, message: Tensor) -> None:
        self.free.acquire()
        self.buffer[self.sent % PLACES].copy_(message)
        self.sent += 1
        self.filled.release()

    def receive(self) -> Tensor:
        self.filled.acquire()
        message = self.buffer[self.read % PLACES].clone()
        self.read += 1
        self.free.release()
        return message


@dataclass
class _Clip:
    """The batch that all processes read, in shared memory."""

    frames: Tensor  # (B, T, *frame)
    labels: Tensor  # (B, T)
    weights: Tensor  # (B, losses)


class PipelineProcesses:
    """D processes that train `net` on batches of `batch` clips of `steps` frames. Use as a context manager.

    optimiser: from a module's parameters to its optimiser; it is sent to the processes, so it must be picklable
    (functools.partial(torch.optim.SGD, lr=0.1)). `net` moves into shared memory and is up to date after each `step`.

    A subclass may do other `work` on a clip (its process's share, picklable; default: the learning rule), with messages
    of so many frames `together`.
    """

    work: Callable[..., Report] | None = None
    together = 1

    def __init__(self, net: SidewaysNet, batch: int, steps: int, optimiser: Optimiser):
        # A process forked from this one could not use autograd after this one has; the fork server never does.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])  # torch is imported once, not by each module
        self.net = net.share_memory()
        self.table = net.timetable(steps)
        shapes, dtype = _shapes(net, batch * self.together)
        self.clip = _Clip(
            torch.zeros(batch, steps, *net.shape, dtype=dtype).share_memory_(),
            torch.zeros(batch, steps, dtype=torch.int64).share_memory_(),
            torch.zeros(batch, self.table.losses, dtype=dtype).share_memory_(),
        )
        edges = [(s, n) for n in range(1, net.depth + 1) for s in self.table.sources(n) if s > 0]
        up = {(s, n): _Channel(shapes[s], dtype, context) for s, n in edges}
        down = {(n, s): _Channel(shapes[s], dtype, context) for s, n in edges}
        self._channels = [*up.values(), *down.values()]  # a semaphore that nobody keeps here is gone before it arrives
        self.pipes: list[Connection] = []
        self.processes = []
        for number, unit in enumerate(net.units, 1):
            mine, theirs = context.Pipe()
            mail = {e: c for e, c in up.items() if number in e}, {e: c for e, c in down.items() if number in e}
            arguments = (number, unit, self.table, self.clip, *mail, optimiser, theirs, self.work or _one_clip)
            process = context.Process(target=_serve, args=arguments, name=f"module {number}", daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(mine)
            self.processes.append(process)

    def step(self, x: Tensor, labels: Tensor, length: Tensor | None = None) -> float:
        """One optimiser step of every module on x (batch, steps, D), labels (batch,) or (batch, steps); the loss."""
        return self.measured_step(x, labels, length)[-1].loss

    def measured_step(self, x: Tensor, labels: Tensor, length: Tensor | None = None) -> list[Report]:
        """As `step`; what each module reports, from the bottom up."""
        frames = self.net.frames(x, length)
        if frames.shape != self.clip.frames.shape:
            raise InputError(
                f"clips of shape {tuple(frames.shape)} for processes that were started for "
                f"{tuple(self.clip.frames.shape)} (batch, frames, frame): both must be the same"
            )
        self.clip.frames.copy_(frames)
        self.clip.labels.copy_(labels if labels.dim() == 2 else labels[:, None].expand(-1, frames.shape[1]))
        self.clip.weights.copy_(frame_weights(self.table.losses, len(x), length, frames))
        for pipe in self.pipes:
            pipe.send(self.net.training)
        return self._collect()

    def _collect(self) -> list[Report]:
        """The reports of all modules. Raises RuntimeError, and ends all, where one has failed or died."""
        reports: dict[int, Report] = {}
        while len(reports) < len(self.pipes):
            waiting = [pipe for place, pipe in enumerate(self.pipes) if place not in reports]
            for ready in wait(waiting):
                place = self.pipes.index(ready)
                try:
                    answer = ready.recv()
                except EOFError:  # its process has ended: the end of the pipe that it held is closed
                    answer = "its process ended"
                if isinstance(answer, str):
                    self.close()
                    raise RuntimeError(f"module {place + 1} of the pipeline failed: {answer}")
                reports[place] = answer
        return [reports[place] for place in range(len(self.pipes))]

    def close(self) -> None:
        """End the processes; without an answer within seconds, by force."""
        for pipe in self.pipes:
            pipe.close()  # an idle process reads this as the end
        for process in self.processes:
            process.join(0.5)
            if process.is_alive():
                process.terminate()
                process.join(5)

    def __enter__(self) -> PipelineProcesses:
        return self

    def __exit__(self, *_) -> None:
        self.close()


@torch.no_grad()
def _shapes(net: SidewaysNet, batch: int) -> tuple[dict[int, torch.Size], torch.dtype]:
    """The shape of each unit's output for `batch` frames, and their type; one forward pass without side effects."""
    training = net.training
    net.eval()
    dtype = next((p.dtype for p in net.parameters()), torch.get_default_dtype())
    outputs = {0: torch.zeros(batch, *net.shape, dtype=dtype)}
    table = net.timetable(net.depth)
    for number, unit in enumerate(net.units, 1):
        outputs[number] = unit(*(outputs[source] for source in table.sources(number)))
    net.train(training)
    return {number: h.shape for number, h in outputs.items()}, dtype


def _serve(number, unit, table, clip, up, down, make_optimiser, pipe, work) -> None:
    """A module's process: a clip for each message, until the pipe is closed."""
    torch.set_num_threads(1)
    try:
        parameters = list(unit.parameters())
        optimiser = make_optimiser(parameters) if parameters else None
        while True:
            try:
                unit.train(pipe.recv())
            except EOFError:
                return
            if optimiser is not None:
                optimiser.zero_grad(set_to_none=True)
            report = work(number, Worker(unit), table, clip, up, down)
            if optimiser is not None:
                optimiser.step()
            pipe.send(report)
    except Exception as error:  # whatever it is, the parent must hear of it instead of waiting
        log.error("module %d: %s", number, traceback.format_exc())
        pipe.send(f"{type(error).__name__}: {error}")


def _one_clip(number: int, worker: Worker, table: Timetable, clip: _Clip, up, down) -> Report:
    sources, busy = table.sources(number), 0.0
    for tick in table.working(number):
        inputs = [up[s, number].receive() if s else clip.frames[:, table.frame(tick)] for s in sources]
        parts = [down[sender, number].receive() for sender in table.senders(number, tick)]
        target = target_at(table, tick, clip.labels, clip.weights) if number == table.depth else None
        started = time.perf_counter()
        gradient = total(parts) if parts else None
        output, back = worker.tick(inputs, [source > 0 for source in sources], gradient, target)
        busy += time.perf_counter() - started
        for reader in table.readers(number):
            if tick + 1 in table.working(reader):
                up[number, reader].send(output)
        for source, part in zip(sources, back, strict=True):
            if part is not None and number in table.senders(source, tick + 1):
                down[number, source].send(part)
    worker.finish(share_of(table, number, clip.weights))
    return Report(worker.loss, busy, len(table.working(number)))
