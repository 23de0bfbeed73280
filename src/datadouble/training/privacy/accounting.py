"""How much privacy a training spends: (epsilon, delta) from noise, and noise from (epsilon, delta).

A step takes every patient with chance `sample_rate` (Poisson sampling) and adds Gaussian noise of `noise_multiplier`
times the clipping norm to the sum of the patients' clipped gradients. Two data sets are neighbours when one has one
patient more. The PRV accountant (Gopi et al., NeurIPS 2021) of Opacus counts; `epsilon_by_pld` is the independent
check by Google's dp-accounting.
"""

import math
import warnings

from datadouble.errors import DataDoubleError

MOST_NOISE = 1_000.0  # a multiplier beyond which nothing can be learned; more is asked for by mistake
_CLOSE = 0.002  # the noise found spends at least (1 - this) of the epsilon allowed


def default_delta(patients: int) -> float:
    """Return 1 / (10 x patients): a tenth of the 1 / patients that would let a mechanism publish one of them whole."""
    return 1 / (10 * patients)


def epsilon_of(noise_multiplier: float, delta: float, *, sample_rate: float, steps: int) -> float:
    """Return the epsilon that a training spends, an upper bound within about 0.01 (PRV accountant).

    Parameters
    ----------
    noise_multiplier
        Standard deviation of the noise over the clipping norm; 0 gives infinity.
    delta
        In (0, 1).
    sample_rate
        Chance of a patient to be in a step, in (0, 1].
    steps
        Steps taken.

    Raises
    ------
    DataDoubleError
        When a value is outside its range.
    """
    _check(delta, sample_rate, steps)
    if not noise_multiplier >= 0:
        raise DataDoubleError("the noise must not be negative", where="privacy", found=str(noise_multiplier))
    if steps == 0:
        return 0.0
    if noise_multiplier == 0:
        return math.inf
    epsilon = _prv(noise_multiplier, delta, sample_rate, steps, _error(math.inf))
    if epsilon < 1:
        epsilon = _prv(noise_multiplier, delta, sample_rate, steps, _error(epsilon))
    return epsilon


def noise_multiplier_for(epsilon: float, delta: float, *, sample_rate: float, steps: int) -> float:
    """Return the least noise multiplier whose training spends at most `epsilon` (to 0.2%).

    Raises
    ------
    DataDoubleError
        When no noise can reach (epsilon, delta): neither is positive, or the multiplier would pass 1,000.
    """
    _check(delta, sample_rate, steps)
    if not 0 < epsilon < math.inf:
        raise DataDoubleError(
            "no noise can reach this epsilon",
            where="privacy.epsilon",
            found=f"{epsilon:g}",
            remedy="choose a positive number; 8 by patient is a usual choice for images",
        )

    def spent(multiplier: float) -> float:
        return _prv(multiplier, delta, sample_rate, steps, _error(epsilon))

    # A secant in (log noise, log epsilon), where the curve is nearly straight, inside a bracket.
    low, high = math.log(0.05), math.log(MOST_NOISE)
    # The RDP bound is quick and never below: only where it fails need the finer accountant be asked.
    if _rdp(MOST_NOISE, delta, sample_rate, steps) > epsilon and (least := spent(MOST_NOISE)) > epsilon:
        raise DataDoubleError(
            "no noise can reach this epsilon",
            where="privacy.epsilon",
            found=f"{epsilon:g}, and a noise multiplier of {MOST_NOISE:g} still spends {least:.3g}",
            remedy="allow a larger epsilon, or train for fewer steps with fewer patients a step",
        )
    place = math.log(max(_first_guess(epsilon, delta, sample_rate, steps), 0.06))
    slope, best = -1.2, high
    before: tuple[float, float] | None = None
    for _ in range(60):
        place = min(max(place, low), high)
        found = math.log(max(spent(math.exp(place)), 1e-9))
        if found <= math.log(epsilon):
            high = best = place
            if found > math.log(epsilon * (1 - _CLOSE)):
                break
        else:
            low = place
        if high - low < 1e-4:
            break
        if before is not None and abs(before[0] - place) > 1e-9:
            slope = min(max((before[1] - found) / (before[0] - place), -6.0), -0.4)
        before = (place, found)
        step = place + (math.log(epsilon * (1 - _CLOSE / 2)) - found) / slope
        place = step if low < step < high else (low + high) / 2
    return math.exp(best)


def epsilon_by_pld(noise_multiplier: float, delta: float, *, sample_rate: float, steps: int) -> float:
    """Return the same epsilon by privacy loss distributions (dp-accounting), written by others in another way."""
    _need("dp_accounting")
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    _check(delta, sample_rate, steps)
    accountant = PLDAccountant(value_discretization_interval=1e-4)
    step = dp_accounting.PoissonSampledDpEvent(sample_rate, dp_accounting.GaussianDpEvent(noise_multiplier))
    accountant.compose(dp_accounting.SelfComposedDpEvent(step, steps))
    return float(accountant.get_epsilon(delta))


def _error(epsilon: float) -> float:
    """Return the accountant's absolute error for an epsilon: small ones need a finer mesh."""
    return 0.01 if epsilon >= 1 else max(0.005 * epsilon, 1e-3)


def _prv(noise_multiplier: float, delta: float, sample_rate: float, steps: int, error: float) -> float:
    _need("opacus")
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(noise_multiplier, sample_rate, steps)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return max(float(accountant.get_epsilon(delta, eps_error=error)), 0.0)
    except (ValueError, RuntimeError, MemoryError, OverflowError):
        # So little noise that the mesh of the privacy loss overflows: the older, looser bound does.
        return _rdp(noise_multiplier, delta, sample_rate, steps)


def _rdp(noise_multiplier: float, delta: float, sample_rate: float, steps: int) -> float:
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(noise_multiplier, sample_rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta))


def _first_guess(epsilon: float, delta: float, sample_rate: float, steps: int) -> float:
    """Return a noise multiplier by the quick RDP bound, within some 15% of the answer."""
    _need("opacus")
    low, high = 0.05, MOST_NOISE
    for _ in range(20):
        middle = math.sqrt(low * high)
        if _rdp(middle, delta, sample_rate, steps) > epsilon:
            low = middle
        else:
            high = middle
    return 0.93 * high


def _check(delta: float, sample_rate: float, steps: int) -> None:
    if not 0 < delta < 1:
        raise DataDoubleError(
            "Gaussian noise needs a delta between 0 and 1",
            where="privacy.delta",
            found=f"{delta:g}",
            remedy="use a tenth of 1 / patients; no Gaussian noise reaches delta = 0",
        )
    if not 0 < sample_rate <= 1 or steps < 0:
        raise DataDoubleError(
            "a patient's chance to be in a step must lie between 0 and 1, and steps must not be negative",
            where="privacy.patients_per_step",
            found=f"chance {sample_rate:g}, {steps} steps",
            remedy="take at most as many patients a step as there are",
        )


def _need(package: str) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise DataDoubleError(
            f"differential privacy needs {package.replace('_', '-')}",
            where="privacy",
            remedy="pip install 'datadouble[dp]'",
        )
