"""How long an epoch takes on several machines: computed from what one machine does alone, and from the network.

In a step each machine computes on its own batch, then all of them average their gradients in a ring (Patarasuk and Yuan
2009): every machine sends 2(n - 1) messages of a n-th of the gradients. While the backward pass still computes the
gradients of early layers, those of late ones travel already (Li et al. 2020).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.ticker import FuncFormatter, NullFormatter

from data_setup.base.text import listed, number
from helpers.figures.style import BLACK, COLOURS, DASHES, MARKS, WORDS, Drawing, ink, style_axes

BACKWARD = 2 / 3  # of the computing of a step; behind it the exchange can hide
MACHINES = (1, 2, 4, 8, 16, 32, 64, 128)  # of a figure


@dataclass(frozen=True)
class Cluster:
    """Equal machines on one network. Raises ValueError for what no machine or network has."""

    pictures_per_second: float  # that one machine trains on, alone
    gradient_bytes: int  # four for each weight that trains
    gbit_per_second: float = 10.0  # of a machine's connection, in each direction
    latency_us: float = 50.0  # microseconds until a message begins to arrive
    batch: int = 32  # pictures in a step, on each machine

    def __post_init__(self):
        if min(self.pictures_per_second, self.gbit_per_second, self.batch) <= 0:
            raise ValueError("pictures a second, Gbit a second and the batch are above 0")
        if min(self.gradient_bytes, self.latency_us) < 0:
            raise ValueError("bytes and latency are not below 0")

    def computing(self) -> float:
        """Seconds that one machine computes in a step."""
        return self.batch / self.pictures_per_second

    def exchange(self, machines: int) -> float:
        """Seconds until `machines` machines have averaged their gradients; 0 for one machine."""
        bits = 2 * (machines - 1) / machines * 8 * self.gradient_bytes
        return bits / (self.gbit_per_second * 1e9) + 2 * (machines - 1) * self.latency_us / 1e6

    def waiting(self, machines: int) -> float:
        """Seconds of a step in which nothing is computed: what of the exchange the backward pass does not hide."""
        return max(0.0, self.exchange(machines) - BACKWARD * self.computing())

    def step(self, machines: int) -> float:
        """Seconds of a step."""
        return self.computing() + self.waiting(machines)

    def epoch(self, pictures: int, machines: int) -> float:
        """Seconds in which `machines` machines go once through `pictures` pictures."""
        return math.ceil(pictures / (machines * self.batch)) * self.step(machines)

    def speedup(self, machines: int) -> float:
        """How many times as many pictures a second as one machine."""
        return machines * self.step(1) / self.step(machines)


def draw_scaling(
    clusters: Mapping[str, Cluster], pictures: int, *, machines: Sequence[int] = MACHINES, at: int | None = None
) -> Drawing:
    """Minutes of an epoch against the number of machines, a line for each cluster; dotted is one without waiting.

    `at` marks a number of machines on each line.
    """
    ax = style_axes(x="machines (log axis)", y="minutes an epoch (log axis)", height_in=4.4)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ends, first = {}, next(iter(clusters.values()))
    if len({cluster.computing() / cluster.batch for cluster in clusters.values()}) == 1:
        alone = pictures / first.pictures_per_second / 60
        ax.plot(machines, [alone / n for n in machines], ":", color=BLACK, linewidth=1.5)
        ends["no waiting"] = (alone / machines[-1], BLACK)
    for i, (name, cluster) in enumerate(clusters.items()):
        minutes = [cluster.epoch(pictures, n) / 60 for n in machines]
        look = {"color": COLOURS[i], "linestyle": DASHES[i], "marker": MARKS[i], "markersize": 7}
        ax.plot(machines, minutes, linewidth=2.2, label=name, **look)
        if at is not None:
            big = {"markersize": 13, "markerfacecolor": "none", "markeredgewidth": 2.5}
            ax.plot([at], [cluster.epoch(pictures, at) / 60], MARKS[i], color=COLOURS[i], **big)
        ends[name] = (minutes[-1], COLOURS[i])
    _name_at_the_right(ax, ends)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xticks(machines)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    ax.yaxis.set_minor_formatter(NullFormatter())
    text = f"Projected minutes of an epoch against the number of machines: {listed(list(clusters))}."
    return Drawing(ax.figure, text, " ".join(_in_words(name, one, pictures) for name, one in clusters.items()))


def _in_words(name: str, cluster: Cluster, pictures: int) -> str:
    minutes = (f"≈ {number(cluster.epoch(pictures, n) / 60)} minutes on {n}" for n in (1, 8, 64))
    return f"{name}: {', '.join(minutes)}."


def _name_at_the_right(ax, ends: Mapping[str, tuple[float, str]]) -> None:
    """Each line's name beside its end; names that would touch are pushed apart. The axis is a logarithmic one."""
    low, high = (math.log10(value) for value in ax.get_ylim())
    gap = 0.062 * (high - low)
    places: list[float] = []
    for end, _ in sorted(ends.values()):
        place = math.log10(end)
        places.append(max(place, places[-1] + gap) if places else place)
    for (name, (_, colour)), place in zip(sorted(ends.items(), key=lambda end: end[1]), places, strict=True):
        at = {"xytext": (10, 0), "textcoords": "offset points", "va": "center", "annotation_clip": False}
        ax.annotate(name, (ax.get_xlim()[1], 10**place), color=ink(colour), **at, **WORDS)
