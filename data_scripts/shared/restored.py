"""What the tables of restored images share: images, measures, finished values, crops.

``evaluate_super_resolution`` and ``evaluate_deblurring`` say what is restored and by what; here it
is measured, by the same code for all. A finished value is kept under ``runs/``, named by what it
depends on: the network's file or the restored image, the image given, the truth, and the code
that measures. So a script that is repeated when new networks are there measures only these.
"""

import argparse
import base64
import functools
import hashlib
import inspect
import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

import dsd_lib as dsd
from data_scripts.evaluate_full_reference import BEST_PSNR, Cache, usable_measures
from data_scripts.shared import results
from data_scripts.train_restoration import LOSSES
from dsd_lib import descriptor
from dsd_lib.descriptor import DEFAULT_LAYERS
from dsd_lib.files import write_atomically
from dsd_lib.quality import baselines, grid, measures, natural_scenes
from dsd_lib.restoration import networks
from dsd_lib.restoration.degradations import to_eight_bits
from dsd_lib.restoration.precision import fast_autocast, fast_dtype

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LABELS = {
    "l1": "L1",
    "perceptual": "L1 + perceptual",
    "style": "Style",
    "multiscale_style": "Multi-scale style",
    "projected_distribution": "Projected distribution",
    "contextual": "Contextual",
    "dsd": "DSD",
}
USUAL_BLOCKS = 5
USUAL_LAYERS = {"contextual": ("relu3_1",)}  # of the distribution term; of the others the default
LONG_LABELS = 24  # letters


@dataclass(frozen=True, eq=False)
class Case:
    """One test image.

    Attributes:
        given: what a method is given, ``(1, 3, h, w)``.
        target: the truth ``(1, 3, H, W)``.
        border: pixels along each side that PSNR, SSIM and the grid measure leave out.
        facts: what else is known of it, as JSON takes it.
    """

    given: Tensor
    target: Tensor
    border: int
    facts: dict[str, object]

    @functools.cached_property
    def matrices(self) -> dict[str, Tensor]:
        """The truth's DSD at every layer."""
        return self_dissimilarity(self.target)

    @functools.cached_property
    def identity(self) -> str:
        """A name for the given image and the truth, of their content."""
        return digest(self.given, self.target)


Images = dict[str, Callable[[], Case]]  # a set's images and how to make each
Cases = dict[str, Images]


@dataclass(frozen=True, eq=False)
class Run:
    """One system, or one network of those that were trained alike.

    Attributes:
        method: its name in results.
        label: its name in tables.
        kind: "trained", "published", "interpolation" or "input".
        restore: takes a set, an image's name and its case, gives ``(1, 3, H, W)``.
        sets: what it can restore; None for everything.
        file: the trained network; None where restoring costs nothing.
        seed: of the training.
        record: of the training.
    """

    method: str
    label: str
    kind: str
    restore: Callable[[str, str, Case], Tensor]
    sets: tuple[str, ...] | None = None
    file: Path | None = None
    seed: int | None = None
    record: dict | None = None


@dataclass(frozen=True)
class Plan:
    """What one result holds.

    Attributes:
        what: the name of its file.
        data: what it is measured on, in words.
        sets: test set -> what finds its images; only what is asked for is looked for.
        runs: takes the folder of trained networks, gives what restores.
        measures: names out of ``MEASURES``.
        crops: the regions shown; those of images that are not there are left out.
        sparse: test set -> of how many images one is measured by the ``slow`` measures, if not all.
        slow: the measures that take longer than restoring and all others together.
    """

    what: str
    data: str
    sets: Mapping[str, Callable[[], Images]]
    runs: Callable[[Path], list[Run]]
    measures: tuple[str, ...]
    crops: tuple["Crop", ...] = ()
    sparse: Mapping[str, int] = field(default_factory=dict)
    slow: tuple[str, ...] = ("lpips", "st_lpips", "dsd")


@dataclass(frozen=True)
class Crop:
    """A region that is shown: of the image ``"set/name"``, (top, left, height, width)."""

    picture: str
    box: tuple[int, int, int, int]


def digest(*content: Tensor | str | bytes) -> str:
    """A short name for content."""
    found = hashlib.sha256()
    for part in content:
        if isinstance(part, Tensor):
            part = part.contiguous().cpu().numpy().tobytes()
        found.update(part if isinstance(part, bytes) else part.encode())
        found.update(b"|")
    return found.hexdigest()[:12]


def self_dissimilarity(x: Tensor) -> dict[str, Tensor]:
    """DSD₂ at the default layers. Convolutions in bfloat16 change distances by about 0.1%."""
    with fast_autocast(x.device):
        return dsd.dsd(x, _backbone(), DEFAULT_LAYERS, alpha=2)


def dsd_distance(x: Tensor, case: Case) -> Tensor:
    """``dsd.dsd_distance`` to the truth, whose matrices are computed once."""
    own = self_dissimilarity(x)
    return sum((own[k] - case.matrices[k]).abs().mean(dim=(1, 2)) for k in DEFAULT_LAYERS)


def st_lpips(x: Tensor, case: Case) -> Tensor:
    """Shift-tolerant LPIPS; bfloat16 makes it three times as fast and changes it by up to 0.4%."""
    x, y = (z.contiguous(memory_format=torch.channels_last) for z in (x, case.target))
    with fast_autocast(x.device):
        return baselines.shift_tolerant_lpips(x, y)


@functools.cache
def _backbone() -> dsd.Backbone:
    return dsd.load_backbone("vgg16").to(DEVICE)


def _whole(key: str) -> Callable[[Tensor, Case], Tensor]:
    """A measure of the registry, of the whole image."""
    measure = measures.MEASURES[key]
    if measure.needs_reference:
        return lambda x, case: measure(x, case.target)
    return lambda x, _: measure(x)


def _inside(key: str) -> Callable[[Tensor, Case], Tensor]:
    """A measure of the registry, without the border."""
    measure = measures.MEASURES[key]

    def measured(x: Tensor, case: Case) -> Tensor:
        b = case.border
        height, width = x.shape[2:]
        a, y = (z[..., b : height - b, b : width - b] for z in (x, case.target))
        return measure(a, y)

    return measured


# key -> (what takes the restored image and its case, the modules it is computed by)
MEASURES = {
    "psnr_y": (_inside("psnr_y"), (baselines,)),
    "ssim_y": (_inside("ssim_y"), (baselines,)),
    "niqe": (_whole("niqe"), (natural_scenes, dsd.resize)),
    "lpips": (_whole("lpips"), (baselines,)),
    "st_lpips": (st_lpips, (baselines,)),
    "dsd": (dsd_distance, (descriptor, dsd.gram, dsd.backbones, dsd.resize)),
    "grid": (_inside("grid"), (grid,)),
}


@functools.cache
def _code(name: str) -> str:
    """A name for the code of a measure, and of the networks' forward passes."""
    files = [Path(module.__file__).read_bytes() for module in MEASURES[name][1]]
    net = networks.XSRResNet
    parts = (networks.XUnit.forward, networks.XBlock.forward, net.forward, net.look, net.draw)
    return digest(*files, *(inspect.getsource(part) for part in parts))


def trained_runs(task: str, folder: Path) -> list[Run]:
    """The networks of ``<folder>/<task>_*/network.safetensors``, in the losses' order.

    A method is named by its loss; one that was built or trained otherwise than usual says so.

    Raises:
        ValueError: a network's record does not say how it was trained, or names another task.
    """
    found = []
    for file in sorted(folder.glob(f"{task}_*/network.safetensors")):
        net = networks.load_network(file)
        record = net.record
        if record.get("task") != task or record.get("loss") not in LOSSES or "seed" not in record:
            raise ValueError(
                f"{file}: expected a network of train_restoration for the task {task}, "
                f"got the record {record}"
            )
        loss, extra = record["loss"], []
        if net.blocks != USUAL_BLOCKS:
            extra.append(f"{net.blocks} blocks")
        if net.upsampling != "shuffle":
            extra.append(net.upsampling)
        if (windows := record.get("windows") or 1) != 1:
            extra.append(f"windows {windows}")
        layers = tuple(record.get("layers") or ())
        if layers and layers != USUAL_LAYERS.get(loss, DEFAULT_LAYERS):
            extra.append(", ".join(layers))
        found.append(
            Run(
                "_".join([loss, *extra]).replace(", ", "_").replace(" ", ""),
                LABELS[loss] + (f" ({'; '.join(extra)})" if extra else ""),
                "trained",
                functools.partial(_apply, file),
                file=file,
                seed=record["seed"],
                record=record,
            )
        )
    order = list(LOSSES)
    return sorted(found, key=lambda r: (order.index(r.record["loss"]), r.method, r.seed))


def _apply(file: Path, _set: str, _name: str, case: Case) -> Tensor:
    """bfloat16, where the hardware has it, changes PSNR by 0.01 dB and NIQE by up to 0.4%."""
    with fast_autocast(case.given.device):
        return _network(file)(case.given).float()


@functools.lru_cache(maxsize=64)
def _network(file: Path) -> networks.XSRResNet:
    return networks.load_network(file).to(DEVICE)


class Restored:
    """One run's result for one image, made when it is first needed."""

    def __init__(self, run: Run, set_name: str, name: str, case: Case) -> None:
        self.run, self.case, self.where = run, case, (set_name, name)
        made_by = _file_digest(run.file) if run.file else self.image
        # The hardware's precision decides a little what networks and measures compute.
        self.identity = digest(made_by, case.identity, str(fast_dtype(DEVICE)))

    @functools.cached_property
    def image(self) -> Tensor:
        """``(1, 3, H, W)``, rounded to 8 bits as a file is."""
        x = to_eight_bits(self.run.restore(*self.where, self.case))
        if x.shape != self.case.target.shape:
            raise ValueError(
                f"{'/'.join(self.where)}, {self.run.label}: expected the truth's size "
                f"{tuple(self.case.target.shape)}, got {tuple(x.shape)}"
            )
        return x

    def value(self, measure: str, cache: Cache) -> tuple[float, float]:
        """A measure and the processor seconds it took, restoring included if it was the first."""
        key = f"{'/'.join(self.where)} {measure} {self.identity} {_code(measure)}"

        def timed() -> dict[str, float]:
            begun = time.process_time()
            value = MEASURES[measure][0](self.image, self.case).item()
            return {"value": value, "seconds": round(time.process_time() - begun, 3)}

        kept = cache.get(key, timed)
        return kept["value"], kept["seconds"]

    def crop(self, box: tuple[int, int, int, int], cache: Cache) -> Image.Image:
        """A region as an image, kept or made."""
        key = f"{'/'.join(self.where)} {box} {self.identity} {_code('psnr_y')}"
        kept = cache.get(key, lambda: {"webp": encode(cut(self.image, box))})["webp"]
        return Image.open(io.BytesIO(base64.b64decode(kept)))


@functools.cache
def _file_digest(file: Path) -> str:
    """A name for a network and how it is applied."""
    return digest(file.read_bytes(), inspect.getsource(_apply))


def cut(x: Tensor, box: tuple[int, int, int, int]) -> Image.Image:
    """A region of ``(1, 3, H, W)``; what lies outside the image is an error."""
    top, left, height, width = box
    part = x[..., top : top + height, left : left + width]
    if min(top, left) < 0 or part.shape[2:] != (height, width):
        raise ValueError(f"expected a region inside {tuple(x.shape)}, got {box}")
    return Image.fromarray(dsd.to_array(part))


def encode(image: Image.Image) -> str:
    """A lossless WebP file as text."""
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=True, method=6)
    return base64.b64encode(file.getvalue()).decode()


def strip(tiles: list[Image.Image]) -> bytes:
    """Images of one size side by side, as a lossless WebP file."""
    whole = np.concatenate([np.asarray(tile.convert("RGB")) for tile in tiles], axis=1)
    return base64.b64decode(encode(Image.fromarray(whole)))


@torch.no_grad()
def measure_all(
    plan: Plan,
    cases: Cases,
    runs: list[Run],
    measures: list[str],
    cache: Cache,
    save: Callable[[int, bytes], str],
    shown_before: Mapping[int, Mapping[str, Image.Image]],
) -> dict:
    """Everything that the stored result holds.

    Args:
        plan: which regions are shown, and what is measured on fewer images.
        cases: the test images.
        runs: what restores them.
        measures: names out of ``MEASURES``.
        cache: where finished values are kept.
        save: takes the number of a region and its strip of images, gives the file's name.
        shown_before: number of a region -> method -> the region as restored earlier.
    """
    values = [
        {s: {m: [] for m in measures} for s in cases if not r.sets or s in r.sets} for r in runs
    ]
    truth = {s: {"niqe": []} for s in cases}
    facts = {s: {} for s in cases}
    shown, seconds = [], Counter()
    total = sum(len(cases[s]) for v in values for s in v)
    progress = tqdm(total=total, unit="image")
    for set_name, index, name, case in _every(cases):
        for key, fact in case.facts.items():
            facts[set_name].setdefault(key, []).append(fact)
        true = Restored(_TRUTH, set_name, name, case)
        truth[set_name]["niqe"].append(true.value("niqe", cache)[0])
        boxes = [(i, c) for i, c in enumerate(plan.crops, 1) if c.picture == f"{set_name}/{name}"]
        tiles = {i: {"truth": true.crop(c.box, cache), **shown_before.get(i, {})} for i, c in boxes}
        for run, kept in zip(runs, values, strict=True):
            if set_name not in kept:
                continue
            restored = Restored(run, set_name, name, case)
            for measure in measures:
                if measure in plan.slow and index % plan.sparse.get(set_name, 1):
                    continue
                value, took = restored.value(measure, cache)
                seconds[measure] += took
                best = BEST_PSNR if measure == "psnr_y" else value  # two equal images
                kept[set_name][measure].append(min(value, best))
            for i, crop in boxes:
                if run.method not in tiles[i]:  # of several seeds the first
                    tiles[i][run.method] = restored.crop(crop.box, cache)
            progress.update()
        for i, crop in boxes:
            entry = {"picture": crop.picture, "box": crop.box}
            file = save(i, strip(list(tiles[i].values())))
            shown.append((i, entry | {"file": file, "methods": list(tiles[i])}))
    progress.close()
    methods: dict[str, dict] = {}
    for run, kept in zip(runs, values, strict=True):
        entry = {"name": run.method, "label": run.label, "kind": run.kind, "runs": []}
        own = {"seed": run.seed, "record": run.record, "values": results.rounded(kept, 5)}
        if run.file:
            own |= {"folder": run.file.parent.name, "dtype": str(fast_dtype(DEVICE))}
        methods.setdefault(run.method, entry)["runs"].append(own)
    return {
        "sets": {s: list(images) for s, images in cases.items()},
        "sparse": {
            s: {
                "measures": [m for m in measures if m in plan.slow],
                "pictures": list(cases[s])[::n],
            }
            for s, n in plan.sparse.items()
            if s in cases
        },
        "methods": list(methods.values()),
        "truth": results.rounded(truth, 5),
        "facts": results.rounded({s: f for s, f in facts.items() if f}),
        "crops": [entry for _, entry in sorted(shown, key=lambda pair: pair[0])],
        "seconds": {measure: round(took) for measure, took in seconds.items()},
    }


_TRUTH = Run("truth", "Truth", "truth", lambda _set, _name, case: case.target)


def _every(cases: Cases) -> Iterator[tuple[str, int, str, Case]]:
    for set_name, images in cases.items():
        for index, (name, make) in enumerate(images.items()):
            yield set_name, index, name, make()


def table(measured: dict) -> str:
    """Means over each set's images and a method's runs, as text."""
    lines = []
    for set_name, names in measured["sets"].items():
        rows = [m for m in measured["methods"] if set_name in m["runs"][0]["values"]]
        if not rows:
            continue
        columns = list(rows[0]["runs"][0]["values"][set_name])
        title = f"{set_name} ({len(names)} images)"
        lines.append(f"{title:{LONG_LABELS}} runs" + "".join(f"{c:>10}" for c in columns))
        for method in rows:
            runs = [run["values"][set_name] for run in method["runs"] if set_name in run["values"]]
            mean = {c: np.mean([values[c] for values in runs]) for c in columns}
            numbers = "".join(f"{mean[c]:>10.4g}" for c in columns)
            lines.append(f"{method['label'][:LONG_LABELS]:{LONG_LABELS}} {len(runs):4}{numbers}")
        true = np.mean(measured["truth"][set_name]["niqe"])
        lines.append(f"{'truth':{LONG_LABELS}}     " + f"NIQE {true:.4g}\n")
    return "\n".join(lines)


def arguments(text: str) -> argparse.Namespace:
    """The command line of both scripts."""
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    runs = results.ROOT / "runs"
    parser.add_argument("--runs", type=Path, default=runs, help="the folder of trained networks")
    parser.add_argument("--sets", nargs="+", help="only these test sets")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="FOLDER",
        help="measure only these networks of the runs and keep everything else that is stored",
    )
    parser.add_argument(
        "--output", type=Path, default=results.RESULTS, help="where the result goes"
    )
    return parser.parse_args()


def evaluate(
    plan: Plan,
    runs: Path,
    output: Path,
    *,
    sets: Iterable[str] | None = None,
    only: Iterable[str] | None = None,
) -> dict:
    """Measure, write ``<what>.json`` and the strips ``<what>_crops_N.webp``, print the table.

    Args:
        plan: what is measured.
        runs: the folder of trained networks; finished values are kept there too.
        output: the folder of the result.
        sets: only these test sets.
        only: measure only the networks in these folders of ``runs``, and add them to what
            ``output`` holds.

    Raises:
        ValueError: there is no such set, or no such network.
        FileNotFoundError: data are missing; with ``only``, also the stored result.
    """
    if unknown := set(sets or ()) - set(plan.sets):
        raise ValueError(
            f"--sets: expected some of {', '.join(plan.sets)}; got {', '.join(sorted(unknown))}"
        )
    if output == results.RESULTS:
        results.begin()
    cases = {name: find() for name, find in plan.sets.items() if not sets or name in sets}
    usable, left_out = usable_measures(plan.measures)
    output.mkdir(parents=True, exist_ok=True)
    found, stored, shown = plan.runs(runs), None, {}
    if only is not None:
        found = _chosen(found, set(only))
        stored = json.loads((output / f"{plan.what}.json").read_text())
        shown = _stored_crops(stored["results"], output, {run.method for run in found})

    def save(number: int, file: bytes) -> str:
        path = output / f"{plan.what}_crops_{number}.webp"
        write_atomically(path, file)
        return path.name

    cache = Cache(runs / f"{plan.what}.jsonl")
    measured = measure_all(plan, cases, found, usable, cache, save, shown)
    measured["left_out"] = left_out
    started = time.time() - sum(measured["seconds"].values())  # of all repetitions together
    if stored is not None:
        measured = added(stored, measured)
    results.write_result(
        plan.what,
        measured,
        data=plan.data,
        network="vgg16",
        started=started,
        seed=0,
        device=DEVICE,
        folder=output,
    )
    print(table(measured))
    return measured


def _chosen(runs: list[Run], folders: set[str]) -> list[Run]:
    """Those whose networks are in the folders."""
    chosen = [run for run in runs if run.file and run.file.parent.name in folders]
    if missing := folders - {run.file.parent.name for run in chosen}:
        raise ValueError(
            f"--only: expected folders of trained networks, got {', '.join(sorted(missing))}"
        )
    return chosen


def _stored_crops(
    stored: dict, folder: Path, measured_now: set[str]
) -> dict[int, dict[str, Image.Image]]:
    """Of each stored strip's number, its parts by method; those measured now are left out."""
    strips = {}
    for entry in stored["crops"]:
        width = entry["box"][3]
        with Image.open(folder / entry["file"]) as strip:
            parts = {
                method: strip.crop((i * width, 0, (i + 1) * width, strip.height))
                for i, method in enumerate(entry["methods"])
                if method not in measured_now
            }
        strips[int(Path(entry["file"]).stem.rsplit("_", 1)[1])] = parts
    return strips


def added(stored: dict, new: dict) -> dict:
    """A stored result's content with the networks of a new one; its provenance is kept.

    Raises:
        ValueError: the two were measured on different images.
    """
    old = stored["results"]
    for name, images in new["sets"].items():
        if images != old["sets"].get(name):
            raise ValueError(f"{name}: expected the images of the stored result, got {images}")
    methods = {method["name"]: method for method in old["methods"]}
    for method in new["methods"]:
        folders = {run["folder"] for run in method["runs"]}
        earlier = methods.get(method["name"], {}).get("runs", [])
        kept = [run for run in earlier if run.get("folder") not in folders]
        runs = sorted([*kept, *method["runs"]], key=lambda run: run["seed"])
        methods[method["name"]] = method | {"runs": runs}
    crops = {entry["file"]: entry for entry in [*old["crops"], *new["crops"]]}
    return old | {
        "methods": list(methods.values()),
        "crops": list(crops.values()),
        "earlier": [*old.get("earlier", []), stored["provenance"]],
    }
