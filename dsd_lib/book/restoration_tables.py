"""The stored results of chapters 8 and 9: tables, differences with intervals, and image planes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from dsd_lib.book.component import Html
from dsd_lib.book.plane import PlanePoint, image_plane
from dsd_lib.book.plots import load_result
from dsd_lib.book.tables import Direction, table
from dsd_lib.images import load_image
from dsd_lib.quality.measures import MEASURES

Interval = tuple[float, float, float]

# Measure -> its short name in a table, and digits after the decimal point.
SHOWN = {
    "psnr_y": ("PSNR-Y", 2),
    "ssim_y": ("SSIM-Y", 3),
    "niqe": ("NIQE", 2),
    "niqe_gap": ("NIQE to truth's", 2),  # from a set's mean to that of its true images
    "lpips": ("LPIPS", 3),
    "st_lpips": ("ST-LPIPS", 3),
    "dsd": ("DSD distance", 3),
    "grid": ("grid", 2),
}
SET_TITLES = {
    "set5": "Set5",
    "set14": "Set14",
    "bsd100": "BSD100",
    "synthetic": "synthetic",
    "levin": "Levin's kernels",
    "gopro": "GoPro",
}
DRAWS = 10_000  # of the bootstrap over images


class RestorationResults:
    """Measured values of several methods on sets of test images.

    Attributes:
        result: the whole file, for :func:`dsd_lib.book.plots.provenance`.
        methods: name -> what is stored of the method.
        labels: name -> its name in tables, also for ``"truth"``.
    """

    def __init__(self, path: str | Path) -> None:
        """Read a file of ``book/results/``, such as ``super_resolution.json``.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it holds no results of restoration.
        """
        self.result = load_result(path)
        if "methods" not in self.result["results"]:
            raise ValueError(f"{path}: expected results of restoration with the key methods")
        self._folder = Path(path).parent
        self.methods = {m["name"]: m for m in self.result["results"]["methods"]}
        self.labels = {n: m["label"] for n, m in self.methods.items()} | {"truth": "Truth"}

    @property
    def trained(self) -> list[str]:
        """The methods that were trained for the book."""
        return [name for name, m in self.methods.items() if m["kind"] == "trained"]

    def values(self, method: str, of: str, measure: str) -> np.ndarray | None:
        """The measured values, ``(runs, images)``; None where the method was not measured.

        Args:
            method: its name.
            of: the set, such as ``"bsd100"``.
            measure: a key of :data:`dsd_lib.quality.measures.MEASURES`.
        """
        runs = [run["values"].get(of, {}).get(measure) for run in self.methods[method]["runs"]]
        return None if None in runs else np.array(runs)

    def niqe_of_truth(self, of: str) -> float:
        """The mean NIQE of a set's true images.

        Raises:
            ValueError: it was not measured.
        """
        truth = self.result["results"].get("truth", {})
        if of not in truth:
            raise ValueError(f"the true images of {of} were not measured")
        return float(np.mean(truth[of]["niqe"]))

    def mean(self, method: str, of: str, measure: str) -> float:
        """The mean over images and runs.

        Raises:
            ValueError: the method was not measured there.
        """
        return float(self._measured(method, of, measure).mean())

    def difference(self, method: str, other: str, of: str, measure: str) -> Interval:
        """How much higher a method's mean is than another's, with its 95 % interval.

        The interval is a bootstrap over images: both methods are measured on the same ones, so the
        differences are resampled. It says nothing about other training runs.

        Raises:
            ValueError: one of the methods was not measured there.
        """
        ours, theirs = (self._measured(m, of, measure).mean(axis=0) for m in (method, other))
        gain = ours - theirs  # (images,)
        drawn = np.random.default_rng(0).integers(0, len(gain), (DRAWS, len(gain)))
        low, high = np.quantile(gain[drawn].mean(axis=1), (0.025, 0.975))
        return float(gain.mean()), float(low), float(high)

    def differences(
        self, method: str, others: Sequence[str], of: str, measures: Sequence[str]
    ) -> dict[str, dict[str, dict[str, Interval]]]:
        """Measure -> other method -> :meth:`difference`, as ``dot_plot`` takes it as panels."""
        return {
            _head(k): {self.labels[n]: {"": self.difference(method, n, of, k)} for n in others}
            for k in measures
        }

    def verdict(self, method: str, other: str, of: str, measure: str) -> str:
        """``"better"``, ``"worse"``, or ``"undecided"`` where the interval holds 0."""
        _, low, high = self.difference(method, other, of, measure)
        if low <= 0 <= high:
            return "undecided"
        return "better" if (low > 0) == (_better(measure) == "higher") else "worse"

    def table(
        self,
        of: str,
        *,
        number: str,
        caption: str,
        measures: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
        note: str = "",
    ) -> Html:
        """The means of a set, one row per method.

        A method that was trained several times shows the lowest and highest mean of its runs below
        its mean. With ``"niqe_gap"`` among the measures, NIQE itself is not ranked: it says how far
        a set's mean NIQE is from that of its true images, whose value is in a last row.

        Args:
            of: the set.
            number: of the table.
            caption: what to see in it.
            measures: the columns; all that were measured unless given.
            methods: the rows; all that were measured unless given.
            note: a line below the table.
        """
        methods = [n for n in methods or self.methods if self._has(n, of)]
        measures = measures or [k for k in SHOWN if self.values(methods[0], of, k) is not None]
        rows = [
            [self.labels[name], *(self._over_runs(name, of, k) for k in measures)]
            for name in methods
        ]
        columns = {"method": ""} | {_head(k): f".{SHOWN[k][1]}f" for k in measures}
        ranked = [k for k in measures if k != "niqe" or "niqe_gap" not in measures]
        best: dict[str, Direction] = {_head(k): _better(k) for k in ranked}
        if "niqe_gap" in measures:
            truth = {"niqe": self.niqe_of_truth(of)}
            rows.append([self.labels["truth"], *(truth.get(k) for k in measures)])
        return table(rows, columns, best=best, number=number, caption=caption, note=note)

    def regions(self, image: str) -> dict[str, Tensor]:
        """A stored region of a test image: method, or ``"truth"`` -> ``(1, 3, H, W)``.

        Args:
            image: such as ``"set14/comic"``.

        Raises:
            KeyError: no region of that image is stored.
        """
        crops = {crop["picture"]: crop for crop in self.result["results"]["crops"]}
        if image not in crops:
            raise KeyError(f"image: expected one of {sorted(crops)}, got {image!r}")
        crop = crops[image]
        strip = load_image(self._folder / crop["file"])
        return dict(zip(crop["methods"], strip.split(crop["box"][3], dim=3), strict=True))

    def plane(
        self,
        of: str,
        image: str,
        *,
        alt: str,
        image_alt: str,
        perception: str = "niqe",
        without: Sequence[str] = (),
        start: str = "dsd",
        zoom: int = 2,
        quality: int = 100,
    ) -> Html:
        """Perception against distortion, as in Fig. 9: each method's region beside its point.

        Args:
            of: the set whose means are the coordinates.
            image: whose regions are shown, such as ``"set14/zebra"``.
            alt: what the plot shows, with its message.
            image_alt: what the region shows; the method's name is added to it.
            perception: the measure of the vertical axis; the horizontal one is SSIM.
            without: methods to leave out.
            start: the method chosen first.
            zoom: screen pixels per pixel.
            quality: of the stored images, 1 to 99; 100 keeps every pixel.
        """
        regions = self.regions(image)
        shown = [
            name
            for name in self.methods
            if name in regions
            and name not in without
            and self.values(name, of, perception) is not None
        ]
        points = [
            PlanePoint(
                self.labels[name],
                self.mean(name, of, "ssim_y"),
                self.mean(name, of, perception),
                regions[name],
                self.group(name),
                note=f"PSNR-Y {self.mean(name, of, 'psnr_y'):.2f} dB",
            )
            for name in shown
        ]
        title, digits = SHOWN[perception]
        return image_plane(
            points,
            x_name=SHOWN["ssim_y"][0],
            y_name=title,
            digits=(SHOWN["ssim_y"][1], digits),
            y_better=_better(perception),
            title=f"{title} against SSIM on {SET_TITLES[of]}",
            alt=alt,
            image_alt=image_alt,
            start=shown.index(start),
            zoom=zoom,
            quality=quality,
        )

    def group(self, method: str) -> str:
        """Whose color a method has: ``"dsd"``, ``"other"`` or ``"published"``."""
        if method.startswith("dsd"):
            return "dsd"
        return "other" if self.methods[method]["kind"] == "trained" else "published"

    def settings(self, *, number: str, caption: str) -> Html:
        """How each network was trained, one row per method."""
        rows = []
        for name in self.trained:
            records: list[Mapping] = [run["record"] for run in self.methods[name]["runs"]]
            first = records[0]
            rows.append(
                [
                    self.labels[name],
                    first["steps"],
                    first["batch"],
                    ", ".join(str(r["seed"]) for r in records),
                    ", ".join(first["layers"] or []) or "none",
                    ", ".join(f"{w:.3g}" for w in first["weights"]),
                    sum(r["seconds"] for r in records) / 60,
                ]
            )
        columns = {
            "loss": "",
            "steps": ",d",
            "batch": "d",
            "seeds": "",
            "distribution layers": "",
            "weights": "",
            "minutes": ".0f",
        }
        note = "Weights: of the L1, the perceptual, and the distribution term of Eq. (6)."
        return table(rows, columns, number=number, caption=caption, note=note)

    def _measured(self, method: str, of: str, measure: str) -> np.ndarray:
        found = self.values(method, of, measure)
        if found is None:
            raise ValueError(f"{method} was not measured by {measure} on {of}")
        return found

    def _has(self, method: str, of: str) -> bool:
        return any(of in run["values"] for run in self.methods[method]["runs"])

    def _over_runs(self, method: str, of: str, measure: str) -> float | Interval | None:
        found = self.values(method, of, "niqe" if measure == "niqe_gap" else measure)
        if found is None:
            return None
        means = found.mean(axis=1)  # (runs,)
        if measure == "niqe_gap":
            means = abs(means - self.niqe_of_truth(of))
        if len(means) == 1:
            return float(means[0])
        return float(means.mean()), float(means.min()), float(means.max())


def _better(measure: str) -> Direction:
    ranked = MEASURES["niqe" if measure == "niqe_gap" else measure]
    return "higher" if ranked.higher_is_better else "lower"


def _head(measure: str) -> str:
    return SHOWN[measure][0]
