"""VIBNet's sparsity theorem on its own ground: a quadratic data term, minimised to its local minima.

Dai et al. (ICML 2018), poster, "Theoretical Results": for fixed weights the data term is replaced by an upper bound
that is quadratic in the masks z = mu + sigma eps, z' A'A z + b'z + c. In expectation over eps the objective is

    F(mu, s) = sum_j gamma_j log(1 + mu_j^2 / s_j) + mu' G mu + sum_j G_jj s_j + b' mu,   G = A'A, s_j = sigma_j^2,

and the claim: at every local minimum at most rank[A] + 1 of the mu_j are not 0, and alpha_j = 0 wherever mu_j = 0.

Here sigma is taken out by hand. With m = |mu_j|, g = G_jj and w = sqrt(m^2 + 4 gamma_j / g) the best s_j is

    s = m (w - m) / 2,   alpha = m^2 / s = g m (w + m) / (2 gamma_j),   d/dm [gamma_j log(1 + alpha) + g s] = g (w - m).

The last one falls with m: what is left of a mask's cost is a strictly concave function of |mu_j| with a kink at 0. So
the claim can be sharpened: where more than rank[A] masks are not 0, some direction v in them has A v = 0; along it the
data term is linear and the rest strictly concave, and no local minimum is there. At most rank[A] are left, whatever b
is. (The + 1 is what an argument by extreme points gives, which counts b as one more row of A; the poster shows no
proof.) A column of A that is 0 has no kink: its mask costs nothing, no s is best, and `QuadraticBound` refuses it.

That a mask is not 0 does not mean that VIBNet keeps it: its rule alpha > 1 is stricter than alpha > 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from squeezebench.base.errors import InputError

STILL = 1e-12  # largest change of a sweep, relative to the largest mu, at which the descent has arrived
STRAIGHT = 1e-13  # rounding of a curvature, relative to the largest of G
LEVEL = 1e-9  # of a gradient, relative to the largest of b
SWEEPS = 20  # between looks at the curvature
ROUNDS = 500
NEWTON = 30  # steps at most


@dataclass(frozen=True)
class QuadraticBound:
    """The objective. matrix A (rows, d); linear b (d,); weights gamma (d,), all positive."""

    matrix: np.ndarray
    linear: np.ndarray
    weights: np.ndarray

    def __post_init__(self) -> None:
        if not (self.matrix.any(axis=0).all() and (self.weights > 0).all()):
            raise InputError("a mask without a quadratic term, or of weight 0, costs nothing: leave it out")

    @cached_property
    def gram(self) -> np.ndarray:
        """G = A'A (d, d)."""
        return self.matrix.T @ self.matrix

    @property
    def rank(self) -> int:
        return int(np.linalg.matrix_rank(self.matrix))

    def value(self, mu: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """F of mu and s (..., d), without the constant c; s > 0 wherever mu is not 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            alpha = np.where(mu == 0, 0.0, mu**2 / variance)
        data = np.einsum("...i,ij,...j->...", mu, self.gram, mu) + mu @ self.linear
        return data + variance @ np.diag(self.gram) + np.log1p(alpha) @ self.weights

    def variance(self, mu: np.ndarray) -> np.ndarray:
        """The s (..., d) that is best for mu; 0 where mu is 0."""
        m = np.abs(mu)
        return m * 2 * self._ratio / (self._root(m) + m)  # m (w - m) / 2, without the cancellation

    def alpha(self, mu: np.ndarray) -> np.ndarray:
        """mu^2 / s (..., d) at the best s."""
        m = np.abs(mu)
        return m * (self._root(m) + m) / (2 * self._ratio)

    def profile(self, mu: np.ndarray) -> np.ndarray:
        """F at the best s, (...)."""
        return self.value(mu, self.variance(mu))

    @property
    def _ratio(self) -> np.ndarray:
        return self.weights / np.diag(self.gram)

    def _root(self, m: np.ndarray) -> np.ndarray:
        return np.sqrt(m**2 + 4 * self._ratio)

    def gradient(self, mu: np.ndarray) -> np.ndarray:
        """Of the profile (d,), where mu (d,) is not 0; elsewhere that of the data term."""
        return 2 * self.gram @ mu + self.linear + np.sign(mu) * self._slope(mu)

    def hessian(self, mu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(which mu (d,) are not 0, the profile's Hessian among them)."""
        there = np.flatnonzero(mu)
        m, root = np.abs(mu)[there], self._root(np.abs(mu))[there]
        bend = np.diag(self.gram)[there] * (m / root - 1)  # of the concave part: negative
        return there, 2 * self.gram[np.ix_(there, there)] + np.diag(bend)

    def slack(self, mu: np.ndarray) -> float:
        """How far mu (d,) is from first-order conditions: the gradient where mu is not 0, and where it is 0 what the
        data term pulls beyond the kink."""
        gradient = np.abs(self.gradient(mu))
        return float(np.where(mu == 0, np.maximum(0.0, gradient - self._slope(mu)), gradient).max())

    def _slope(self, mu: np.ndarray) -> np.ndarray:
        """g (w - m), without the cancellation."""
        m = np.abs(mu)
        return 4 * self.weights / (self._root(m) + m)

    def minima(self, starts: np.ndarray) -> np.ndarray:
        """Local minima (S, d) that are reached from `starts` (S, d), by descent alone.

        One coordinate at a time has a minimum in closed form, mu_j = -sign(c) max(0, |c| / (2 g) - 2 gamma_j / |c|) for
        the slope c that the others leave; it is unique, as 2 g exceeds what the concave part bends. Where that ends at
        a saddle, the descent goes on along the direction of negative curvature.
        """
        mu = np.array(starts, dtype=np.float64)
        moving = np.arange(len(mu))
        for _ in range(ROUNDS):
            mu[moving] = self._sweep(mu[moving])
            for start in moving:
                there, hessian = self.hessian(mu[start])
                values, vectors = np.linalg.eigh(hessian) if len(there) else (np.ones(1), None)
                if values[0] < -STRAIGHT * np.diag(self.gram).max():
                    direction = np.zeros_like(mu[start])
                    direction[there] = vectors[:, 0]
                    mu[start] = self._down(mu[start], direction)
                else:
                    mu[start] = self._newton(mu[start])
            moving = np.array([start for start in moving if not self.is_minimum(mu[start])], dtype=int)
            if not len(moving):
                return mu
        raise RuntimeError(f"{len(moving)} of {len(mu)} descents have not arrived after {ROUNDS * SWEEPS} sweeps")

    def is_minimum(self, mu: np.ndarray) -> bool:
        """Whether mu (d,) meets the first- and second-order conditions of a local minimum, to rounding."""
        there, hessian = self.hessian(mu)
        curved = not len(there) or np.linalg.eigvalsh(hessian)[0] >= -STRAIGHT * np.diag(self.gram).max()
        return curved and self.slack(mu) <= LEVEL * max(1.0, np.abs(self.linear).max())

    def _newton(self, mu: np.ndarray) -> np.ndarray:
        """mu (d,) after the Newton steps that bring it closer to first-order conditions and keep its signs."""
        for _ in range(NEWTON):
            there, hessian = self.hessian(mu)
            newer = mu.copy()
            newer[there] -= np.linalg.lstsq(hessian, self.gradient(mu)[there], rcond=None)[0]
            up = self.profile(newer) - self.profile(mu) > STILL * abs(self.profile(mu))
            if up or (np.sign(newer) != np.sign(mu)).any() or self.slack(newer) >= self.slack(mu):
                return mu
            mu = newer
        return mu

    def _sweep(self, mu: np.ndarray) -> np.ndarray:
        """Coordinate descent on the rows of mu (S, d)."""
        g, gamma = np.diag(self.gram), self.weights
        for _ in range(SWEEPS):
            before = mu.copy()
            for j in range(mu.shape[1]):
                slope = self.linear[j] + 2 * (mu @ self.gram[:, j] - g[j] * mu[:, j])
                size = np.abs(slope)
                with np.errstate(divide="ignore"):
                    mu[:, j] = -np.sign(slope) * np.maximum(0.0, size / (2 * g[j]) - 2 * gamma[j] / size)
            if np.abs(mu - before).max() <= STILL * max(1.0, np.abs(mu).max()):
                break
        return mu

    def _down(self, mu: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """The best of some steps both ways along `direction`, the longest of them to where the first mu becomes 0."""
        tried = [mu]
        for way in (direction, -direction):
            with np.errstate(divide="ignore", invalid="ignore"):
                until = np.where(mu * way < 0, -mu / way, np.inf)
            first = int(until.argmin())
            if np.isfinite(until[first]):
                tried += [mu + part * until[first] * way for part in (1e-3, 1e-2, 0.1, 0.5)]
                tried.append(np.where(np.arange(len(mu)) == first, 0.0, mu + until[first] * way))
        return tried[int(np.argmin([self.profile(candidate) for candidate in tried]))]


def random_bound(rng: np.random.Generator, rank: int, size: int, weight: float) -> QuadraticBound:
    """`size` masks on a data term of `rank`: A is Gaussian, the data term is smallest where all mu are 1, gamma is
    `weight` up to a factor of 2 each way."""
    matrix = rng.normal(size=(rank, size))
    return QuadraticBound(matrix, -2 * matrix.T @ matrix @ np.ones(size), weight * 2 ** rng.uniform(-1, 1, size))
