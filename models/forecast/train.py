"""Train the forecast model; writes model.json, metrics.json and samples.json beside this file.

Needs NumPy only: python models/forecast/train.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from forecast_model import Forecast

HERE = Path(__file__).resolve().parent

# As in model.yaml's `params`.
SEASON, HELD_OUT = 12, 36

# Thousands of international airline passengers per month, a line per year from 1949 to 1960:
# series G of Box & Jenkins, "Time Series Analysis: Forecasting and Control" (1976).
PASSENGERS = """
    112 118 132 129 121 135 148 148 136 119 104 118
    115 126 141 135 125 149 170 170 158 133 114 140
    145 150 178 163 172 178 199 199 184 162 146 166
    171 180 193 181 183 218 230 242 209 191 172 194
    196 196 236 235 229 243 264 272 237 211 180 201
    204 188 235 227 234 264 302 293 259 229 203 229
    242 233 267 269 270 315 364 347 312 274 237 278
    284 277 317 313 318 374 413 405 355 306 271 306
    315 301 356 348 355 422 465 467 404 347 305 336
    340 318 362 348 363 435 491 505 404 359 310 337
    360 342 406 396 420 472 548 559 463 407 362 405
    417 391 419 461 472 535 622 606 508 461 390 432
"""


def train(series: np.ndarray) -> Forecast:
    """Fit one row of weights for every number of known steps, from none to a season."""
    steps = np.diff(series)
    coefficients: list[list[float]] = [[]]
    for known in range(1, SEASON + 1):
        windows = np.lib.stride_tricks.sliding_window_view(steps, known + 1)
        weights, *_ = np.linalg.lstsq(windows[:, :-1], windows[:, -1], rcond=None)
        # Six decimals: what lies beyond them differs between machines, and would change the hash.
        coefficients.append(weights.round(6).tolist())
    return Forecast(SEASON, coefficients)


def evaluate(model: Forecast, series: np.ndarray) -> dict[str, float]:
    """One-month-ahead errors in the held-out months, beside those of two forecasts that need no model."""
    months = range(len(series) - HELD_OUT, len(series))

    def forecasts(known: int) -> np.ndarray:
        histories = (series[max(0, month - known) : month] for month in months)
        return np.array([model.predict({"history": history})["next"][0] for history in histories])

    truth = series[-HELD_OUT:]
    error = np.abs(forecasts(known=len(series)) - truth)
    metrics = {
        "mae": error.mean(),
        "mape": (error / truth).mean(),
        "mae_half_year_known": np.abs(forecasts(known=6) - truth).mean(),
        "mae_of_last_value": np.abs(series[-HELD_OUT - 1 : -1] - truth).mean(),
        "mae_of_last_season": np.abs(series[-HELD_OUT - SEASON : -SEASON] - truth).mean(),
    }
    return {name: round(float(value), 4) for name, value in metrics.items()}


def main() -> None:
    passengers = np.array(PASSENGERS.split(), dtype=np.float32)
    model = train(passengers[:-HELD_OUT].astype(np.float64))
    metrics = evaluate(model, passengers)

    # From no step at all to every step, and a series of another unit that falls below zero.
    histories = [passengers[:1], passengers[:6], passengers[:13], passengers[-24:], passengers]
    histories.append(np.arange(3, -6, -1.5, dtype=np.float32))
    samples = [{"history": history.tolist()} for history in histories]

    model.save(str(HERE / "model.json"))
    (HERE / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    rows = ",\n  ".join(json.dumps(sample) for sample in samples)
    (HERE / "samples.json").write_text(f"[\n  {rows}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
