from __future__ import annotations

import math

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from edgetwin.kernels import random

JIT = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]
COUNT = 400_000 if JIT else 8_000
U = np.uint64


@pytest.mark.parametrize(
    ("seed", "counter", "words"),
    [
        (0, (0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (2**64 - 1, (2**32 - 1,) * 4, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            0x299F31D0_A4093822,
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers(seed: int, counter: tuple[int, ...], words: tuple[int, ...]) -> None:
    """From kat_vectors of Random123 (github.com/DEShawResearch/random123), philox4x32 of 10 rounds."""
    assert tuple(int(w) for w in random.philox(U(seed), *(U(c) for c in counter))) == words


def normals(count: int, seed: int = 1, stream: int = 2) -> NDArray[np.float64]:
    """From 8 members, two at a time."""
    pairs = [random.normal_pair(U(seed), U(stream), m, d) for m in range(8) for d in range(count // 16)]
    return np.array(pairs).ravel()


def test_normals_are_normal() -> None:
    drawn = np.sort(normals(COUNT))
    n = len(drawn)
    cdf = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in drawn])
    rank = np.arange(n)
    distance = max((cdf - rank / n).max(), ((rank + 1) / n - cdf).max())
    assert distance * math.sqrt(n) < 1.95  # Kolmogorov: exceeded in 0.1 % of all seeds, and this one is fixed
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert np.mean(drawn**power) == pytest.approx(moment, abs=4 * math.sqrt(variance / n))


@pytest.mark.skipif(not JIT, reason="needs many numbers")
def test_the_tail_beyond_the_last_layer_has_its_share_and_shape() -> None:
    out = np.empty((1_000_000, 2))
    random.draw_correlated(U(3), U(0), np.zeros(2), np.eye(2), out)
    beyond = np.abs(out[np.abs(out) > random.TAIL])
    share = math.erfc(random.TAIL / math.sqrt(2))
    assert len(beyond) == pytest.approx(share * out.size, abs=4 * math.sqrt(share * out.size))
    hazard = math.exp(-0.5 * random.TAIL**2) / math.sqrt(2 * math.pi) / (share / 2)  # mean of the tail
    assert beyond.mean() == pytest.approx(hazard, abs=4 * 0.25 / math.sqrt(len(beyond)))
    assert 0.4 < (out[np.abs(out) > random.TAIL] > 0).mean() < 0.6


def test_where_a_number_is_used_makes_it_another() -> None:
    base = (U(1), U(2), 3, 4)
    others = [(U(2), U(2), 3, 4), (U(1), U(3), 3, 4), (U(1), U(2), 4, 4), (U(1), U(2), 3, 5), (U(1 + 2**32), *base[1:])]
    assert random.normal_pair(*base) == random.normal_pair(*base)
    numbers = [x for where in (base, *others) for x in random.normal_pair(*where)]
    assert len(set(numbers)) == len(numbers)


def test_neighbours_are_not_correlated() -> None:
    n = COUNT // 4
    pairs = np.array([random.normal_pair(U(5), U(0), m, 7) for m in range(n)])
    bound = 4 / math.sqrt(n)
    assert abs(np.mean(pairs[:, 0] * pairs[:, 1])) < bound
    assert abs(np.mean(pairs[1:, 0] * pairs[:-1, 0])) < bound
    assert abs(np.mean(pairs[1:, 0] * pairs[:-1, 1])) < bound


def test_correlated_vectors_have_the_covariance() -> None:
    factor = np.array([[2.0, 0.5, -1.0], [0.0, 1.0, 0.3], [0.0, 0.0, 0.2]])
    out = np.empty((COUNT // 8, 3))
    random.draw_correlated(U(9), U(0), np.array([1.0, -2.0, 3.0]), factor, out)
    covariance = factor @ factor.T
    spread = np.sqrt(np.diag(covariance))
    assert np.abs((out.mean(axis=0) - [1.0, -2.0, 3.0]) / spread).max() < 4 / math.sqrt(len(out))
    error = (np.cov(out.T) - covariance) / np.outer(spread, spread)
    assert np.abs(error).max() < 6 / math.sqrt(len(out))


def test_parameters_have_their_distributions() -> None:
    kinds = (random.FIXED, random.NORMAL, random.UNIFORM, random.LOGNORMAL, random.TRIANGULAR)
    figures = np.array([[4.0, 0, 0], [2.0, 3.0, 0], [-1.0, 5.0, 0], [0.5, 0.4, 0], [1.0, 2.0, 5.0]])
    out = np.empty((COUNT // 8, 5))
    random.draw_parameters(U(4), U(1), np.array(kinds), figures, out)
    assert (out[:, 0] == 4.0).all()
    lognormal = math.exp(0.5 + 0.08)
    means = [2.0, 2.0, lognormal, 8 / 3]
    stds = [3.0, 6 / math.sqrt(12), lognormal * math.sqrt(math.expm1(0.16)), math.sqrt((1 + 4 + 25 - 2 - 5 - 10) / 18)]
    n = len(out)
    np.testing.assert_allclose(out[:, 1:].mean(axis=0), means, atol=4 * max(stds) / math.sqrt(n))
    np.testing.assert_allclose(out[:, 1:].std(axis=0), stds, rtol=8 / math.sqrt(n))
    assert -1 <= out[:, 2].min() < out[:, 2].max() < 5
    assert 1 <= out[:, 4].min() < out[:, 4].max() <= 5
    below_mode = (out[:, 4] < 2.0).mean()
    assert below_mode == pytest.approx(0.25, abs=4 * 0.44 / math.sqrt(n))


def test_a_triangle_may_have_no_width() -> None:
    out = np.empty((8, 1))
    random.draw_parameters(U(4), U(1), np.array([random.TRIANGULAR]), np.array([[3.0, 3.0, 3.0]]), out)
    assert (out == 3.0).all()
