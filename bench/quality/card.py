"""The rate–distortion card: pictures per byte, of latents, of PCA and of JPEG."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np

mpl.use("agg")
import matplotlib.pyplot as plt

BYTES = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Sizes at which the curves are compared."""
WHOLE, SCAN = "JPEG, whole files", "JPEG, scans alone"


class Curve(NamedTuple):
    """What one code makes of the images at several sizes.

    Attributes:
        name: Of the code.
        sizes: Bytes an image, rising.
        psnr: In dB at each size.
        ssim: At each size.
    """

    name: str
    sizes: np.ndarray
    psnr: np.ndarray
    ssim: np.ndarray

    def at(self, size: float) -> tuple[float, float] | None:
        """Return PSNR and SSIM at ``size`` bytes, between the points it lies between.

        ``None`` outside of what was measured.
        """
        if not self.sizes[0] <= size <= self.sizes[-1]:
            return None
        place = np.log(size), np.log(self.sizes)
        return (
            float(np.interp(*place, self.psnr)),
            float(np.interp(*place, self.ssim)),
        )


def curves(points: Mapping[str, Sequence[Sequence[float]]]) -> list[Curve]:
    """Return the curves of rows: setting, bytes, payload, PSNR, SSIM of each point.

    JPEG gives two: by its files and by their scans.
    """
    found = []
    for name, rows in points.items():
        table = np.array(rows)
        if name == "jpeg":
            found += [_curve(WHOLE, table, 1), _curve(SCAN, table, 2)]
        else:
            found.append(_curve(name, table, 1))
    return found


def table(found: Sequence[Curve]) -> list[str]:
    """Return the lines of a Markdown table: PSNR and SSIM at equal bytes."""
    names = " | ".join(one.name for one in found)
    lines = [f"| bytes an image | {names} |", "|---:" * (len(found) + 1) + "|"]
    for size in BYTES:
        cells = [one.at(size) for one in found]
        shown = " | ".join(f"{c[0]:.1f} / {c[1]:.2f}" if c else "" for c in cells)
        lines.append(f"| {size} | {shown} |")
    return lines


def draw(datasets: Mapping[str, Sequence[Curve]], file: pathlib.Path) -> None:
    """Draw PSNR over bytes, and SSIM below it, a column for each dataset."""
    mpl.rcParams["font.size"] = 9
    figure, axes = plt.subplots(
        2,
        len(datasets),
        figsize=(4.2 * len(datasets), 6.4),
        sharex="col",
        squeeze=False,
    )
    names = dict.fromkeys(one.name for found in datasets.values() for one in found)
    style = {
        name: {"color": f"C{place % 10}", "ls": "--" if "JPEG" in name else "-"}
        for place, name in enumerate(names)
    }
    for column, (title, found) in zip(axes.T, datasets.items(), strict=True):
        for one in found:
            for place, values in enumerate((np.minimum(one.psnr, 45), one.ssim)):
                column[place].plot(
                    one.sizes,
                    values,
                    marker=".",
                    label=one.name,
                    lw=1.2,
                    **style[one.name],
                )
        column[0].set_title(title)
        column[1].set_xlabel("bytes an image")
        column[0].set_xscale("log", base=2)
        column[0].set_xlim(left=2)
        column[1].xaxis.set_major_formatter("{x:g}")
        for one_axis in column:
            one_axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("PSNR, dB (cut at 45)")
    axes[1, 0].set_ylabel("SSIM")
    handles = {
        label: handle
        for axis in axes[0]
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles, loc="lower center", ncols=6, fontsize=8)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.savefig(file, dpi=80)
    plt.close(figure)


def _curve(name: str, rows: np.ndarray, column: int) -> Curve:
    """Return a curve by one column of sizes, leaving out points that are no gain.

    A higher JPEG quality may cost more and show less; nobody would choose it.
    """
    rows = rows[np.argsort(rows[:, column], kind="stable")]
    best = np.concatenate([[-np.inf], np.maximum.accumulate(rows[:, 3])[:-1]])
    rows = rows[rows[:, 3] > best]
    return Curve(name, rows[:, column], rows[:, 3], rows[:, 4])
