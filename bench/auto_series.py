"""The recordings on which ``auto`` is measured, and the exponential smoothing it is measured against.

The sixteen series were fixed before the model was tuned: one or two from each domain of the evaluation data, the first
4,000 samples of each, chosen by what they are and not by how any model does on them.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DATA = Path(os.environ.get("EDGETWIN_DATA", "../shared/data"))
SAMPLES_MAX = 4_000
SCORED_FROM = 200
REFIT_EVERY = 250
PEER = 2  # to be raised when what the peer does changes: its results are kept


@dataclass(frozen=True, slots=True)
class Series:
    """One column of a file after ``skip`` rows; ``season``: length of a day in samples (0: the peer tries none)."""

    path: str
    column: str
    season: int
    reason: str
    only: tuple[str, str] | None = None
    skip: int = 0

    @property
    def name(self) -> str:
        """Folder and column, and the first row when it is not that of the file."""
        column = self.column if self.column != "value" else Path(self.path).name[:22]
        return f"{self.path.split('/')[0]}:{column}" + (f"+{self.skip}" if self.skip else "")

    @property
    def first(self) -> int:
        """Index of the first prediction that counts: both sides have had as much to learn from."""
        return max(SCORED_FROM, 3 * self.season)

    def load(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Times int64[n] in ns and values float64[n]; rows without a value or a later time are left out."""
        with gzip.open(DATA / self.path, "rt") as file:
            header = file.readline().strip().split(",")
            rows = [line.rstrip("\n").split(",") for line in file]
        if self.only is not None:
            where = header.index(self.only[0])
            rows = [row for row in rows if row[where] == self.only[1]]
        rows = rows[self.skip :]
        t = np.array([float(row[0]) for row in rows])
        z = np.array([float(row[header.index(self.column)] or "nan") for row in rows])
        keep = np.isfinite(z) & np.r_[True, np.diff(np.maximum.accumulate(t)) > 0]
        t, z = t[keep][:SAMPLES_MAX], z[keep][:SAMPLES_MAX]
        return np.round((t - t[0] + 1.6e9) * 1e9).astype(np.int64), z


SERIES = (
    Series("nab/realKnownCause/machine_temperature_system_failure.csv.gz", "value", 288, "a machine in a plant, 5 min"),
    Series("nab/realAWSCloudwatch/ec2_cpu_utilization_825cc2.csv.gz", "value", 288, "load of a server, 5 min"),
    Series("nab/realAdExchange/exchange-2_cpc_results.csv.gz", "value", 24, "a price, spiky, hourly"),
    Series("skab/anomaly-free/anomaly-free.csv.gz", "Temperature", 0, "a pump rig, 1 s"),
    Series("tep/d00_te.csv.gz", "xmeas7", 0, "a pressure under control in a chemical plant, 3 min"),
    Series("batadal/dataset03_normal.csv.gz", "L_T1", 24, "a water tank between two switching levels, hourly"),
    Series("gas_turbine_emission/data.csv.gz", "NOX", 24, "emission of a gas turbine, hourly"),
    Series("wind_la_haute_borne/R80711_2014.csv.gz", "P_avg", 144, "power of a wind turbine, 10 min"),
    Series("building_bdg2/data.csv.gz", "building_1_kwh", 24, "electricity of a building, daily and weekly, hourly"),
    Series("vic_electricity/data.csv.gz", "demand_mw", 48, "electricity of a state, 30 min"),
    Series("metr_la_week/speed_mph.csv.gz", "s773869", 288, "speed on a motorway, 5 min"),
    Series("bike_sharing_dc/data.csv.gz", "users", 24, "people on hired bicycles, hourly"),
    Series("air_quality_valencia/data.csv.gz", "no2", 24, "air quality in a street, hourly with gaps"),
    Series("cgm_glucose/t2d_5_subjects.csv.gz", "glucose_mgdl", 0, "glucose, irregular", ("id", "Subject 1")),
    Series("ims_bearing/test2.csv.gz", "b1_mav_g", 0, "vibration of a bearing run to failure, 10 min"),
    Series("flight_tracks_adsb/zero_gravity.csv.gz", "altitude", 0, "an aircraft that climbs and dives, 1 s"),
)  # fmt: skip

HELD_OUT = (
    Series("nab/realKnownCause/machine_temperature_system_failure.csv.gz", "value", 288, "a later part", skip=8_000),
    Series("nab/realAWSCloudwatch/ec2_cpu_utilization_5f5533.csv.gz", "value", 288, "another server"),
    Series("nab/realAWSCloudwatch/ec2_cpu_utilization_ac20cd.csv.gz", "value", 288, "another server"),
    Series("nab/realAWSCloudwatch/ec2_network_in_257a54.csv.gz", "value", 288, "traffic of a server"),
    Series("nab/realAWSCloudwatch/elb_request_count_8c0756.csv.gz", "value", 288, "requests, counts with a day"),
    Series("nab/realAWSCloudwatch/rds_cpu_utilization_e47b3b.csv.gz", "value", 288, "load of a database"),
    Series("nab/realAdExchange/exchange-3_cpm_results.csv.gz", "value", 24, "another price"),
    Series("nab/realAdExchange/exchange-4_cpc_results.csv.gz", "value", 24, "another price"),
    Series("skab/anomaly-free/anomaly-free.csv.gz", "Thermocouple", 0, "a slow temperature"),
    Series("skab/anomaly-free/anomaly-free.csv.gz", "Current", 0, "white noise about a level"),
    Series("skab/valve1/0.csv.gz", "Pressure", 0, "a coarse sensor"),
    Series("tep/d00_te.csv.gz", "xmeas18", 0, "a temperature under control"),
    Series("tep/d04_te.csv.gz", "xmeas21", 0, "cooling water, a fault enters"),
    Series("batadal/dataset03_normal.csv.gz", "L_T3", 24, "another tank"),
    Series("batadal/dataset03_normal.csv.gz", "L_T7", 24, "another tank"),
    Series("batadal/dataset03_normal.csv.gz", "P_J280", 24, "a pressure that pumps switch"),
    Series("gas_turbine_emission/data.csv.gz", "TEY", 24, "yield of the turbine"),
    Series("gas_turbine_emission/data.csv.gz", "CO", 24, "another gas, a later part", skip=8_000),
    Series("wind_la_haute_borne/R80711_2014.csv.gz", "Ws_avg", 144, "wind speed"),
    Series("wind_la_haute_borne/R80711_2014.csv.gz", "Ot_avg", 144, "outdoor temperature"),
    Series("building_bdg2/data.csv.gz", "building_2_kwh", 24, "another building"),
    Series("vic_electricity/data.csv.gz", "demand_mw", 48, "a later part, the other half of the year", skip=9_000),
    Series("vic_electricity/data.csv.gz", "temp_c", 48, "weather"),
    Series("metr_la_week/speed_mph.csv.gz", "s767541", 288, "another road"),
    Series("metr_la_week/speed_mph.csv.gz", "s717446", 288, "another road"),
    Series("bike_sharing_dc/data.csv.gz", "hum", 24, "weather"),
    Series("air_quality_valencia/data.csv.gz", "o3", 24, "another gas, with a day"),
    Series("air_quality_valencia/data.csv.gz", "pm10", 24, "dust, with gaps"),
    Series("cgm_glucose/t2d_5_subjects.csv.gz", "glucose_mgdl", 0, "another patient", ("id", "Subject 4")),
    Series("ims_bearing/test2.csv.gz", "b3_mav_g", 0, "another bearing"),
    Series("flight_tracks_adsb/munich.csv.gz", "altitude", 0, "an aircraft on approach"),
    Series("flight_tracks_adsb/zero_gravity.csv.gz", "groundspeed", 0, "speed of the aircraft"),
    Series("pv_nrel/ac_power_inv_7539.csv.gz", "ac_power_norm", 96, "photovoltaic power, zero at night"),
    Series("bidmc_01/signals.csv.gz", "resp", 0, "respiration at 125 Hz"),
)
"""Other columns of the same and of other sources, written down before any of them was looked at: no constant is chosen
by them, and a change of the model stays only if it does not worsen the geometric mean of their ratios."""

_VARIANTS: dict[str, dict[str, Any]] = {
    "ses": {"trend": None},
    "holt": {"trend": "add"},
    "damped": {"trend": "add", "damped_trend": True},
    "seasonal": {"trend": None, "seasonal": "add"},
    "damped_seasonal": {"trend": "add", "damped_trend": True, "seasonal": "add"},
}


def peers(series: Series) -> dict[str, float]:
    """One-step RMSE of each form of exponential smoothing; kept in a file, as refitting takes minutes."""
    _, z = series.load()
    return {name: _stored(series, name, z) for name in _VARIANTS if series.season or "seasonal" not in name}


def _stored(series: Series, name: str, z: NDArray[np.float64]) -> float:
    key = hashlib.sha256(
        z.tobytes() + f"{name} {series.season} {REFIT_EVERY} {series.first} {PEER}".encode()
    ).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / "edgetwin-bench-ets" / f"{key}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(_ets_rmse(z, series.first, series.season, _VARIANTS[name])))
    return float(json.loads(path.read_text()))


def _ets_rmse(z: NDArray[np.float64], first: int, season: int, variant: dict[str, Any]) -> float:
    """Parameters by maximum likelihood on all samples so far, anew every REFIT_EVERY; states filtered in between."""
    predicted = np.empty(len(z) - first)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for begin in range(first, len(z), REFIT_EVERY):
            end = min(begin + REFIT_EVERY, len(z))
            predicted[begin - first : end - first] = _ets_forward(z, begin, end, season, variant)
    return float(np.sqrt(np.mean((predicted - z[first:]) ** 2)))


def _ets_forward(
    z: NDArray[np.float64], begin: int, end: int, season: int, variant: dict[str, Any]
) -> NDArray[np.float64]:
    """One-step predictions of z[begin:end] by the better of two starts, judged by its likelihood before ``begin``.

    Initial states are set by the usual heuristic, or estimated with the parameters where there are at most 48 of them.
    """
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    options = dict(variant)
    if "seasonal" in options:
        options["seasonal_periods"] = season
    starts = ["heuristic", "estimated"] if season <= 48 or "seasonal" not in options else ["heuristic"]
    fits = [(ETSModel(z[:begin], initialization_method=s, **options).fit(disp=False), s) for s in starts]
    fit, start = max(fits, key=lambda pair: float(pair[0].llf))
    ahead = ETSModel(z[:end], initialization_method=start, **options).smooth(fit.params)
    return np.asarray(ahead.fittedvalues, np.float64)[begin:end]


def each(of: tuple[Series, ...] = SERIES) -> Iterator[Series]:
    """The series whose file is there."""
    return (series for series in of if (DATA / series.path).exists())
