"""Scores of several settings on the same seeds, with their spread, and the paired test of two of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from labkit.distill._arguments import DistillError


@dataclass(frozen=True)
class Scores:
    """For each setting a share (0 to 1) per seed, all in the order of `seeds`.

    >>> scores = Scores("accuracy", (0, 1, 2), {"labels only": (0.80, 0.86, 0.81), "distilled": (0.88, 0.93, 0.90)})
    >>> print(scores)
    accuracy, 3 seeds       mean     sd   lowest  highest
    labels only            82.3%   3.2%    80.0%    86.0%
    distilled              90.3%   2.5%    88.0%    93.0%
    >>> print(scores.gain("distilled", over="labels only"))
    distilled over labels only: +8.0 points (sd 1.0), worst +7.0, better on 3 of 3 seeds; paired t = 13.9, p = 0.0052
    """

    what: str
    seeds: tuple[int, ...]
    values: Mapping[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        for name, values in self.values.items():
            if len(values) != len(self.seeds):
                raise DistillError(f"{name!r} has {len(values)} scores and there are {len(self.seeds)} seeds.")

    def __getitem__(self, setting: str) -> tuple[float, ...]:
        return self.values[setting]

    def mean(self, setting: str) -> float:
        """The mean over the seeds."""
        return statistics.fmean(self.values[setting])

    def gain(self, setting: str, over: str) -> Gain:
        """How much better one setting is than another, seed by seed."""
        pairs = zip(self.values[setting], self.values[over], strict=True)
        return Gain(f"{setting} over {over}", tuple(100 * (new - old) for new, old in pairs))

    def __str__(self) -> str:
        head = f"{self.what}, {len(self.seeds)} seeds"
        width = max(len(head), *map(len, self.values)) + 2
        lines = [f"{head:<{width}} {'mean':>8} {'sd':>6} {'lowest':>8} {'highest':>8}"]
        for name, values in self.values.items():
            spread = f"{statistics.stdev(values):6.1%}" if len(values) > 1 else f"{'-':>6}"
            lines.append(f"{name:<{width}} {self.mean(name):8.1%} {spread} {min(values):8.1%} {max(values):8.1%}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Gain:
    """Differences in percentage points, one a seed, and what a paired test says of them."""

    name: str
    points: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.points)

    @property
    def sd(self) -> float:
        """Standard deviation of the differences (n - 1); nan for one seed."""
        return statistics.stdev(self.points) if len(self.points) > 1 else math.nan

    @property
    def wins(self) -> int:
        """On how many seeds it is better."""
        return sum(points > 0 for points in self.points)

    @property
    def t(self) -> float:
        """The paired t statistic: the mean over its standard error (Student 1908)."""
        if math.isnan(self.sd):
            return math.nan
        error = self.sd / math.sqrt(len(self.points))
        return self.mean / error if error else math.copysign(math.inf, self.mean) if self.mean else math.nan

    @property
    def p_value(self) -> float:
        """Two-sided p of the paired t-test: how often pure chance would give a |t| as large."""
        from scipy import stats

        return float(2 * stats.t.sf(abs(self.t), len(self.points) - 1))

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.mean:+.1f} points (sd {self.sd:.1f}), worst {min(self.points):+.1f},"
            f" better on {self.wins} of {len(self.points)} seeds; paired t = {self.t:.3g}, p = {self.p_value:.2g}"
        )
