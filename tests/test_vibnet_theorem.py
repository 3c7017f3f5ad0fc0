"""VIBNet's theorem in numbers: local minima of a quadratic data term of rank r have at most r masks that are not 0."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar

from benchmarks.studies.theorem import QuadraticBound, random_bound
from squeezebench.base.errors import InputError

SIZE = 8


def problem(rank: int, weight: float, seed: int = 0, rows: int | None = None) -> tuple[QuadraticBound, np.ndarray]:
    """A bound and 12 starts. rows: of A, where they are more than its rank."""
    rng = np.random.default_rng([seed, rank])
    found = random_bound(rng, rank, SIZE, weight)
    if rows is not None:
        found = QuadraticBound(rng.normal(size=(rows, rank)) @ found.matrix, found.linear, found.weights)
    return found, rng.normal(0, 2, (12, SIZE))


@given(mu=st.floats(-3, 3).filter(lambda m: abs(m) > 1e-3), scale=st.floats(0.1, 3), weight=st.floats(0.01, 3))
@settings(max_examples=40)
def test_sigma_is_taken_out_exactly(mu, scale, weight):
    one = QuadraticBound(np.array([[scale]]), np.array([0.3]), np.array([weight]))
    at = np.array([mu])
    best = minimize_scalar(lambda t: one.value(at, np.exp([t])), bounds=(-30, 10), method="bounded")
    assert one.profile(at) <= best.fun + 1e-12 and one.profile(at) == pytest.approx(best.fun, rel=1e-6)
    assert one.alpha(at) == pytest.approx(mu**2 / one.variance(at))
    step = 1e-6
    slope = (one.profile(at + step) - one.profile(at - step)) / (2 * step)
    assert one.gradient(at)[0] == pytest.approx(float(slope), rel=1e-4, abs=1e-5)


def test_the_hessian_is_that_of_the_profile():
    bound, starts = problem(3, 0.3)
    at = starts[0]
    eye, step = np.eye(SIZE), 1e-5
    numeric = [(bound.gradient(at + step * e) - bound.gradient(at - step * e)) / (2 * step) for e in eye]
    there, hessian = bound.hessian(at)
    assert len(there) == SIZE and np.allclose(hessian, numeric, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("weight", [0.02, 0.3, 3.0])
@pytest.mark.parametrize("rank", [1, 2, 3, 5])
def test_local_minima_have_at_most_as_many_masks_as_the_rank(rank, weight):
    bound, starts = problem(rank, weight, rows=rank + 2)
    assert bound.rank == rank
    minima = bound.minima(starts)
    counts = (minima != 0).sum(axis=1)
    assert counts.max() <= rank  # the poster says rank + 1
    assert all(map(bound.is_minimum, minima))
    assert (bound.profile(minima) <= bound.profile(starts)).all()
    alpha = bound.alpha(minima)
    assert ((alpha == 0) == (minima == 0)).all()  # ||mu||_0 = ||alpha||_0
    if weight == 0.02:
        assert counts.max() == rank  # and that many there are


def test_what_is_called_a_minimum_is_one_for_mu_and_sigma_together():
    """Random steps of mu and of sigma, masks that are 0 included, never lead down."""
    bound, starts = problem(3, 0.3)
    rng = np.random.default_rng(1)
    for mu in bound.minima(starts):
        for size in (1e-2, 1e-4):
            near = mu + size * rng.normal(size=(200, SIZE))
            variance = bound.variance(near) * np.exp(0.1 * rng.normal(size=near.shape))
            assert (bound.value(near, variance) >= bound.profile(mu) - 1e-12).all()


def test_with_more_masks_than_the_rank_no_point_is_a_minimum():
    bound, starts = problem(3, 0.3)
    for start in starts:
        _, hessian = bound.hessian(start)  # all 8 masks are on
        assert np.linalg.eigvalsh(hessian)[: SIZE - 3].max() < 0
        assert not bound.is_minimum(start)


def test_the_bound_holds_for_any_linear_term():
    """Also for one that A cannot see, which the + 1 of the poster allows for: there is no minimum outside the range."""
    bound, starts = problem(2, 0.3)
    rng = np.random.default_rng(2)
    inside = QuadraticBound(bound.matrix, bound.matrix.T @ rng.normal(size=2), bound.weights)
    assert (inside.minima(starts) != 0).sum(axis=1).max() <= 2
    outside = QuadraticBound(bound.matrix, bound.linear + 0.05 * rng.normal(size=SIZE), bound.weights)
    for mu in starts:
        _, hessian = outside.hessian(mu)
        assert (np.linalg.eigvalsh(hessian) < 0).sum() >= SIZE - 2


def test_an_optimiser_that_knows_nothing_of_it_ends_there_too():
    """L-BFGS on mu and log sigma^2, as VIBNet trains them."""
    bound, starts = problem(2, 1.0)

    def objective(point):
        mu, variance = point[:SIZE], np.exp(point[SIZE:])
        alpha = mu**2 / variance
        to_mu = 2 * bound.gram @ mu + bound.linear + bound.weights * 2 * mu / variance / (1 + alpha)
        to_log = np.diag(bound.gram) * variance - bound.weights * alpha / (1 + alpha)
        return bound.value(mu, variance), np.concatenate([to_mu, to_log])

    counts = []
    for start in starts[:3]:
        begun = np.concatenate([start, np.full(SIZE, -4.0)])
        found = minimize(objective, begun, jac=True, method="L-BFGS-B", options={"maxiter": 1500, "ftol": 1e-15})
        mu, variance = found.x[:SIZE], np.exp(found.x[SIZE:])
        counts.append((mu**2 / variance > 0.05).sum())
    assert max(counts) <= 2


def test_a_mask_that_costs_nothing_is_refused():
    with pytest.raises(InputError, match="costs nothing"):
        QuadraticBound(np.array([[1.0, 0.0]]), np.ones(2), np.ones(2))
