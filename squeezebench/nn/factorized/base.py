"""What every map is: a linear function of the last axis, without a bias, with a dense matrix and a spec."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from math import prod, sqrt
from numbers import Integral
from operator import add
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from squeezebench.nn.factorized import contraction
from squeezebench.nn.factorized.modes import check_rank


class LinearMap(nn.Module):
    """y = x W^T with W of shape (O, D), in whatever form the class keeps W."""

    name: ClassVar[str]  # the key "map" of its spec

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., O); ValueError where the last axis is not D."""
        if x.shape[-1] != self.in_features:
            raise ValueError(f"x must end in {self.in_features} features (D), got shape {tuple(x.shape)}")
        return self._apply_rows(x.reshape(-1, self.in_features)).reshape(*x.shape[:-1], self.out_features)

    def _apply_rows(self, x: Tensor) -> Tensor:
        """x (N, D) -> (N, O)."""
        raise NotImplementedError

    def dense(self) -> Tensor:
        """W (O, D), differentiable in the parameters."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor, as JSON knows them."""
        raise NotImplementedError

    def macs(self, rows: int) -> int:
        """Multiply-accumulates of the map applied to `rows` rows."""
        return rows * self.in_features * self.out_features

    def dense_macs(self) -> int | None:
        """Multiply-accumulates of `dense()`; None if no formula is known."""
        return 0

    def spec(self) -> dict[str, Any]:
        """What `nn.registry.module_from_spec` needs to build this map again; the weights are in the state_dict."""
        return {"map": self.name, **self.settings()}

    def extra_repr(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.settings().items())


class TensorMap(LinearMap):
    """A map that is a network of cores over input modes (product D) and output modes (product O).

    x is read with its first mode slowest (C order), and so is y. A subclass names the arguments of its constructor
    (modes first, then ranks and what else multiplies the terms of an entry of W), checks them, gives the shapes of its
    cores and the network that they are; the closed form of its parameters follows.
    """

    arguments: ClassVar[tuple[str, ...]] = ("in_modes", "out_modes", "ranks")

    max_elements = contraction.MAX_ELEMENTS  # bound on the intermediates kept at a time, see contraction.apply

    in_modes: tuple[int, ...]
    out_modes: tuple[int, ...]

    def __init__(self, *arguments: Any, std: float | None = None, **named: Any) -> None:
        """arguments: of the class, by place or by name. std: of the entries of W at the start, see `default_std`."""
        checked = self._checked(*arguments, **named)
        super().__init__(prod(checked[0]), prod(checked[1]))
        for name, value in zip(self.arguments, checked, strict=True):
            setattr(self, name, value)
        cores = [nn.Parameter(torch.empty(shape)) for shape in self._shapes(*checked)]
        self._hold(cores)
        terms = prod(prod(ranks) if isinstance(ranks, tuple) else ranks for ranks in checked[2:])
        random_cores(cores, terms, default_std(self.in_features, self.out_features, std))
        self.network = contraction.network(*self._letters(), self.terms()[0])

    @staticmethod
    def _checked(*arguments: Any) -> tuple[Any, ...]:
        """The arguments of the constructor with one rank for each bond. Raises ValueError if they do not fit."""
        raise NotImplementedError

    @staticmethod
    def _shapes(*checked: Any) -> list[tuple[int, ...]]:
        """The shape of each core, in the order of the parameters."""
        raise NotImplementedError

    def _hold(self, cores: list[nn.Parameter]) -> None:
        """Make the cores parameters under the names of the class."""
        self.cores = nn.ParameterList(cores)

    def _letters(self) -> tuple[str, str, list[str]]:
        """A letter for each input mode, one for each output mode, and a word for each of `tensors`."""
        raise NotImplementedError

    @classmethod
    def count(cls, *arguments: Any, **named: Any) -> int:
        """Parameters by the closed form of the map's paper, for the arguments of the constructor."""
        return sum(prod(shape) for shape in cls._shapes(*cls._checked(*arguments, **named)))

    def settings(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.arguments}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def tensors(self) -> list[Tensor]:
        """The parameters as one network sees them, one per word of letters."""
        raise NotImplementedError

    def terms(self) -> list[list[Tensor]]:
        """The tensors of each network of the sum that the map is: of most maps, one."""
        return [self.tensors()]

    def plan(self, rows: int) -> contraction.Plan:
        """The order in which `rows` rows are contracted with each term."""
        return contraction.plan_for(self.network, contraction.bucket(rows), self.max_elements)

    def macs(self, rows: int) -> int:
        return len(self.terms()) * contraction.macs(self.network, rows, self.max_elements)

    def dense_macs(self) -> None:
        return None

    def _apply_rows(self, x: Tensor) -> Tensor:
        return reduce(add, (contraction.apply(self.network, x, term, self.max_elements) for term in self.terms()))

    def dense(self) -> Tensor:
        return reduce(add, (contraction.materialise(self.network, term) for term in self.terms()))


def default_std(in_features: int, out_features: int, std: float | None) -> float:
    """The standard deviation of W's entries at the start: Glorot's sqrt(2 / (D + O)) where none is given."""
    if std is None:
        return sqrt(2 / (in_features + out_features))
    if not std > 0:
        raise ValueError(f"std must be positive, got {std}")
    return std


def random_cores(cores: Iterable[nn.Parameter], terms: int, std: float) -> None:
    """Fill the cores so that each entry of W has mean 0 and variance std^2.

    An entry of W is a sum of `terms` products (one per value of the bonds) with one independent factor from
    each of K cores, so its variance is terms * v^K. Uniform entries: a product of many of them has lighter
    tails than one of normal entries, so single draws stay closer to that variance.
    """
    cores = list(cores)
    variance = (std**2 / terms) ** (1 / len(cores))
    for core in cores:
        nn.init.uniform_(core, -sqrt(3 * variance), sqrt(3 * variance))


def spread_ranks(name: str, ranks: int | Sequence[int], limits: Sequence[int]) -> tuple[int, ...]:
    """One rank per limit: an integer for all, lowered where one allows less; a sequence is exact."""
    if isinstance(ranks, Integral):
        rank = check_rank(name, ranks, max(limits))
        return tuple(min(rank, limit) for limit in limits)
    if len(ranks) != len(limits):
        raise ValueError(f"{name} must be one integer or {len(limits)} of them, got {len(ranks)}: {list(ranks)}")
    return tuple(check_rank(f"{name}[{i}]", r, limit) for i, (r, limit) in enumerate(zip(ranks, limits, strict=True)))


def check_weight(weight: Tensor, in_features: int, out_features: int) -> Tensor:
    """The dense weight in float64, detached; ValueError unless it is (O, D)."""
    if tuple(weight.shape) != (out_features, in_features):
        raise ValueError(f"weight must be ({out_features}, {in_features}) = (O, D), got {tuple(weight.shape)}")
    return weight.detach().to(torch.float64)


@torch.no_grad()
def set_cores(module: nn.Module, cores: Sequence[Tensor], dtype: torch.dtype) -> None:
    """Give `module` these values in its parameters' order, cast to `dtype`, on the device of the values."""
    module.to(device=cores[0].device, dtype=dtype)
    for parameter, core in zip(module.parameters(), cores, strict=True):
        parameter.copy_(core)
