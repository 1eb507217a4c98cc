"""The Renyi divergence of a sampled Gaussian mechanism, for many sampling rates at once.

Mironov, Talwar, Zhang 2019, arXiv:1908.10530: of whole orders by the binomial formula, of those
between by the two series of Section 3.3. `dp-accounting` computes the same, one rate and one term
after the other; where clients have shards of a thousand sizes that takes a minute.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Array = np.ndarray

MOST_TERMS = 1000
"""Of a series; one that does not end by then says nothing, as in `dp-accounting`."""
SMALL = 30.0
"""The logarithm by which terms are smaller than their sum when a series ends."""


def divergences(rates: Sequence[float], sigma: float, orders: Sequence[float]) -> Array:
    """Of one step, at each order.

    Args:
        rates: of sampling, each in (0, 1].
        sigma: deviation of the noise, over the sensitivity.
        orders: > 1.

    Returns:
        float64 [rates, orders]; infinite where it cannot be told.
    """
    q = np.asarray(rates, dtype=np.float64)
    found = np.empty((len(q), len(orders)))
    whole = q == 1
    found[whole] = np.asarray(orders) / (2 * sigma**2)
    some = q[~whole]
    if len(some):
        log_a = [(_of_whole if float(a).is_integer() else _between)(some, sigma, a) for a in orders]
        found[~whole] = np.stack(log_a, axis=1) / (np.asarray(orders) - 1)
    return np.maximum(found, 0)  # that of hardly anything may be below by rounding


def _of_whole(q: Array, sigma: float, order: float) -> Array:
    """The logarithm of A(order) for each rate."""
    i = np.arange(int(order) + 1, dtype=np.float64)
    fixed = _log_binomial(order, i) + (i * i - i) / (2 * sigma**2)
    log_a = np.full(len(q), -np.inf)
    log_q, log_rest = np.log(q), np.log1p(-q)
    for k, term in zip(i.tolist(), fixed.tolist(), strict=True):
        log_a = np.logaddexp(log_a, term + k * log_q + (order - k) * log_rest)
    return log_a


def _between(q: Array, sigma: float, order: float) -> Array:
    """The same of an order that is no whole number; infinite where a series does not end."""
    found = np.full(len(q), np.inf)
    at = np.arange(len(q))  # of rates whose series go on
    z, log_q, log_rest = sigma**2 * np.log(1 / q - 1) + 0.5, np.log(q), np.log1p(-q)
    low = high = total = last_low = last_high = np.full(len(q), -np.inf)
    terms = np.arange(MOST_TERMS, dtype=np.float64)
    binomials = _log_binomial(order, terms)
    for k, binomial in zip(terms.tolist(), binomials.tolist(), strict=True):
        j = order - k
        s_low = binomial + k * log_q + j * log_rest + (k * k - k) / (2 * sigma**2)
        s_low += _log_tail((k - z) / sigma)
        s_high = binomial + j * log_q + k * log_rest + (j * j - j) / (2 * sigma**2)
        s_high += _log_tail((z - j) / sigma)
        low, high = np.logaddexp(low, s_low), np.logaddexp(high, s_high)
        total = np.logaddexp(low, high)
        ended = (s_low < last_low) & (s_high < last_high)
        ended &= np.maximum(s_low, s_high) < total - SMALL
        if ended.any():
            found[at[ended]] = total[ended]
            on = ~ended
            at, z, log_q, log_rest = at[on], z[on], log_q[on], log_rest[on]
            low, high, s_low, s_high = low[on], high[on], s_low[on], s_high[on]
            if not len(at):
                break
        last_low, last_high = s_low, s_high
    return found


def _log_binomial(n: float, k: Array) -> Array:
    """The logarithm of its absolute value."""
    from scipy.special import gammaln

    found: Array = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return found


def _log_tail(x: Array) -> Array:
    """The logarithm of the normal distribution beyond x, which is erfc(x / sqrt(2)) / 2."""
    from scipy.special import log_ndtr

    found: Array = log_ndtr(-x)
    return found
