"""The built-in models, each a chain of states above one measured signal.

The discretisations are exact for any ``dt`` and are checked in tests against FilterPy's
``Q_continuous_white_noise`` and ``van_loan_discretization``. Source: Bar-Shalom, Li and Kirubarajan,
"Estimation with Applications to Tracking and Navigation" (2001), §6.2, of which the noise columns are the UDUᵀ factors.
"""

from __future__ import annotations

from edgetwin.model.spec import LinearModel, NoiseColumn

RANDOM_WALK = LinearModel(
    name="random_walk",
    suffixes=("",),
    derivative=(0,),
    transition={},
    noise=(NoiseColumn({0: "1.0"}, "q * dt"),),
)

CONSTANT_VELOCITY = LinearModel(
    name="constant_velocity",
    suffixes=("", "_rate"),
    derivative=(0, 1),
    transition={(0, 1): "dt"},
    noise=(
        NoiseColumn({0: "1.0"}, "q * dt * dt * dt / 12.0"),
        NoiseColumn({0: "0.5 * dt", 1: "1.0"}, "q * dt"),
    ),
)

CONSTANT_ACCELERATION = LinearModel(
    name="constant_acceleration",
    suffixes=("", "_rate", "_acceleration"),
    derivative=(0, 1, 2),
    transition={(0, 1): "dt", (0, 2): "0.5 * dt * dt", (1, 2): "dt"},
    noise=(
        NoiseColumn({0: "1.0"}, "q * dt * dt * dt * dt * dt / 720.0"),
        NoiseColumn({0: "0.5 * dt", 1: "1.0"}, "q * dt * dt * dt / 12.0"),
        NoiseColumn({0: "dt * dt / 6.0", 1: "0.5 * dt", 2: "1.0"}, "q * dt"),
    ),
)

# dx/dt = (target - x) / tau, the target a random walk of intensity q.
FIRST_ORDER = LinearModel(
    name="first_order",
    suffixes=("", "_target"),
    derivative=(0, 0),
    prelude=("h = dt / tau", "decay = math.exp(-h)", "mean_ramp = ramp(abs(h))"),
    transition={(0, 0): "decay", (0, 1): "(1.0 - decay)"},
    noise=(
        NoiseColumn({0: "1.0"}, "q * dt * (ramp_square(abs(h)) - mean_ramp * mean_ramp)"),
        NoiseColumn({0: "mean_ramp", 1: "1.0"}, "q * dt"),
    ),
    required=("time_constant",),
)

# Level and damped trend of the structural model, both driven by one disturbance; the kernels are in
# edgetwin.kernels.auto, with seasons on top. A test holds them against these expressions.
AUTO = LinearModel(
    name="auto",
    suffixes=("", "_rate"),
    derivative=(0, 1),
    prelude=("f, decay, c, v_trend, v_level = noise_columns(dt, q, fade, carry)",),
    transition={(0, 1): "f", (1, 1): "decay"},
    noise=(NoiseColumn({0: "1.0"}, "v_level"), NoiseColumn({0: "c", 1: "1.0"}, "v_trend")),
    structural=True,
)

BUILTIN = {m.name: m for m in (RANDOM_WALK, CONSTANT_VELOCITY, CONSTANT_ACCELERATION, FIRST_ORDER, AUTO)}
