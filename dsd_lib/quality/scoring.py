"""Measures by their name, on files, folders and tensors.

:func:`compare` and :func:`score` are the command line ``dsd compare`` and ``dsd score`` in Python.
The measures are those of :mod:`dsd_lib.quality.measures`.
"""

import contextlib
import ctypes
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from dsd_lib.backbones import Backbone, load_backbone
from dsd_lib.checks import check_images
from dsd_lib.files import is_folder, list_images
from dsd_lib.images import load_image
from dsd_lib.quality.measures import FULL_REFERENCE, NO_REFERENCE, Measure, Prepared, find

Source = str | Path | Tensor  # a picture file, a folder of them, or pictures (N, 3, H, W)
Row = dict[str, Any]
# What a measure may raise; RuntimeError is what PyTorch raises when memory runs out.
PROBLEMS = (ValueError, TypeError, RuntimeError, MemoryError)
OnError = Callable[[OSError], object]  # called with what kept a subfolder from being read


def compare(
    reference: Source,
    pictures: Source | Iterable[Source],
    measures: str | Iterable[str] = "dsd",
    *,
    net: Backbone | None = None,
    layers: Iterable[str] | None = None,
    alpha: float | None = None,
    device: str | torch.device | None = None,
) -> list[Row]:
    """Distances of pictures to a reference, as a table that ``pandas.DataFrame`` takes.

    Args:
        reference: a file or one picture ``(1, 3, H, W)``, for all pictures; or a folder, where each
            picture's reference has its file name (see :func:`pair_up`), or as many pictures as
            there are in ``pictures``, in the same order.
        pictures: files, folders, of which all pictures below count, and pictures ``(N, 3, H, W)``.
        measures: keys out of ``FULL_REFERENCE``; a hyphen is as good as an underscore.
        net: the feature network of the measures that use one; None is VGG-16.
        layers: its layers; None is each measure's own.
        alpha: the factor between the two scales; None is each measure's own, 2.
        device: where to compute; None is where ``net`` is, or a GPU when there is one.

    Returns:
        One row for each picture, in the order given, with the keys ``picture`` and ``reference``
        (their names) and the name of each measure.

    Raises:
        FileNotFoundError: a file or a folder is missing, or a network's weights.
        ValueError: a picture that cannot be read, is too small or differs in size from its
            reference; a measure, layer or alpha that is unknown or not used.

    Source: section 3.4; chapter 5 of the book.

    >>> from dsd_lib import sample_images
    >>> x = sample_images()["coffee"]
    >>> compare(x, 0.7 * x, ["dsd", "style"])
    [{'picture': 'picture 0', 'reference': 'reference 0', 'dsd': 0.0633..., 'style': 0.1264...}]
    """
    device = choose_device(device, net)
    prepared = prepare(measures, FULL_REFERENCE, device, net=net, layers=layers, alpha=alpha)
    return _all_or_nothing(measure(pair_up(reference, pictures), prepared, device))


def score(
    pictures: Source | Iterable[Source],
    measures: str | Iterable[str] = "dsd4",
    *,
    device: str | torch.device | None = None,
) -> list[Row]:
    """Scores of pictures that have no reference, as a table that ``pandas.DataFrame`` takes.

    Args:
        pictures: files, folders, of which all pictures below count, and pictures ``(N, 3, H, W)``.
        measures: keys out of ``NO_REFERENCE``.
        device: where to compute; None is a GPU when there is one.

    Returns:
        One row for each picture, in the order given, with the keys ``picture`` (its name) and the
        name of each measure.

    Raises:
        FileNotFoundError: a file or a folder is missing.
        ValueError: a picture that cannot be read or is too small; an unknown measure.

    Source: section 3.5, Table 2; chapter 7 of the book.

    >>> from dsd_lib import sample_images
    >>> score(sample_images()["coffee"], "niqe")
    [{'picture': 'picture 0', 'niqe': 6.23...}]
    """
    device = choose_device(device)
    prepared = prepare(measures, NO_REFERENCE, device)
    return _all_or_nothing(measure(list_jobs(pictures), prepared, device))


# The steps of the two, which the command line takes one by one


@dataclass(frozen=True)
class Job:
    """A picture to measure, and its reference.

    Attributes:
        picture: its file or the picture itself.
        name: what it is called in tables.
        folder: the folder that was given, below which it was found.
        reference: its reference's file, or the reference itself.
        reference_name: what that is called.
    """

    picture: Path | Tensor
    name: str
    folder: Path | None = None
    reference: Path | Tensor | None = None
    reference_name: str | None = None


def list_jobs(pictures: Source | Iterable[Source], on_error: OnError | None = None) -> list[Job]:
    """The pictures one by one, folders opened and batches split.

    ``on_error`` is called with the error of each subfolder that cannot be read; None raises it.

    Raises:
        FileNotFoundError: a folder without pictures.
        TypeError, ValueError: a tensor that holds no pictures; no pictures at all.

    >>> [job.name for job in list_jobs(["b.png", torch.rand(2, 3, 8, 8), "a.png"])]
    ['b.png', 'picture 1', 'picture 2', 'a.png']
    """
    jobs: list[Job] = []
    for source in [pictures] if isinstance(pictures, Source) else pictures:
        if isinstance(source, Tensor):
            check_images(source, name="pictures")
            for picture in source.split(1):
                jobs.append(Job(picture, f"picture {len(jobs)}"))
        elif is_folder(source):
            folder = Path(source)
            jobs += [Job(path, str(path), folder) for path in list_images(folder, on_error)]
        else:
            jobs.append(Job(Path(source), str(source)))
    if not jobs:
        raise ValueError("expected at least one picture, got none")
    return jobs


def pair_up(
    reference: Source, pictures: Source | Iterable[Source], on_error: OnError | None = None
) -> list[Job]:
    """Each picture with its reference.

    A file is everyone's reference and is read here. In a folder the reference has the picture's
    file name, or the same but for the suffix, and lies in the subfolder of the same name where
    both folders have subfolders. ``on_error`` is as in :func:`list_jobs`.

    Raises:
        FileNotFoundError: no such reference, or a folder without pictures.
        ValueError: the reference cannot be read, or the folder has none, or several, for some of
            the pictures; the message names them.

    >>> x = torch.rand(2, 3, 8, 8)
    >>> [(job.name, job.reference_name) for job in pair_up(x, x)]
    [('picture 0', 'reference 0'), ('picture 1', 'reference 1')]
    """
    jobs = list_jobs(pictures, on_error)
    if isinstance(reference, Tensor):
        check_images(reference, name="reference")
        if len(reference) not in (1, len(jobs)):
            raise ValueError(
                f"reference: expected 1 picture or {len(jobs)}, as many as there are pictures, got "
                f"{len(reference)}"
            )
        references = list(reference.split(1)) * (len(jobs) // len(reference))
        names = [f"reference {i if len(reference) > 1 else 0}" for i in range(len(jobs))]
    elif is_folder(reference):
        references = _find_partners(Path(reference), jobs)
        names = [str(path) for path in references]
    else:
        load_image(reference)  # what is wrong with it is said before anything is measured
        references = [Path(reference)] * len(jobs)
        names = [str(reference)] * len(jobs)
    return [
        replace(job, reference=partner, reference_name=name)
        for job, partner, name in zip(jobs, references, names, strict=True)
    ]


def _find_partners(folder: Path, jobs: Sequence[Job]) -> list[Path]:
    """The reference of each picture in ``folder``, by name."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in list_images(folder):
        by_name[path.name].append(path)
        if path.stem != path.name:
            by_name[path.stem].append(path)

    def candidates(job: Job, key: str) -> list[Path]:
        below = Path()
        if job.folder is not None and isinstance(job.picture, Path):
            below = job.picture.relative_to(job.folder).parent
        places = {path: path.relative_to(folder).parent for path in by_name.get(key, [])}
        same = [path for path, place in places.items() if place == below]
        flat = [path for path, place in places.items() if Path() in (place, below)]
        return same or flat

    partners: list[Path] = []
    without: list[str] = []
    several: list[str] = []
    for job in jobs:
        if isinstance(job.picture, Tensor):
            raise ValueError(f"{job.name}: a tensor has no file name to find in {folder}")
        found = candidates(job, job.picture.name) or candidates(job, job.picture.stem)
        partners += found[:1]
        if len(found) != 1:
            (several if found else without).append(job.name)
    for what, names in (("no reference", without), ("more than one reference", several)):
        if names:
            raise ValueError(
                f"{folder}: {what} of the same file name for {len(names)} of {len(jobs)} pictures: "
                f"{name_some(names)}"
            )
    return partners


def name_some(names: Sequence[str]) -> str:
    """The first ten names.

    >>> name_some(["a", "b"])
    'a, b'
    """
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")


def choose_device(
    device: str | torch.device | None = None, net: Backbone | None = None
) -> torch.device:
    """The device asked for, else the network's, else a GPU when there is one.

    Raises:
        ValueError: there is no such device.

    >>> choose_device("cpu")
    device(type='cpu')
    """
    if device is None and net is not None:
        return net.mean.device
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        text = str(error).partition("\n")[0]
        raise ValueError(f"device: {str(device)!r} cannot be used here: {text}") from error


def prepare(
    measures: str | Iterable[str],
    table: dict[str, Measure],
    device: torch.device,
    *,
    net: Backbone | None = None,
    layers: Iterable[str] | None = None,
    alpha: float | None = None,
) -> list[Prepared]:
    """The measures by name, with their networks on ``device``.

    Raises:
        ValueError: an unknown or repeated name, an option that none of the measures takes, or a
            package or weights that a measure needs are missing.
        FileNotFoundError: weights of the network are missing.

    >>> [m.settings for m in prepare("dsd", FULL_REFERENCE, torch.device("cpu"), alpha=4)]
    [{'network': 'vgg16', 'layers': ['relu2_1', 'relu2_2', 'relu3_1'], 'alpha': 4}]
    """
    chosen = find(measures, table)
    names = ", ".join(m.key for m in chosen)
    given = {"net": net, "layers": layers, "alpha": alpha}
    for option, value in given.items():
        if value is not None and not any(option in m.options for m in chosen):
            raise ValueError(f"{option}: none of the measures {names} takes it")
    given["layers"] = [layers] if isinstance(layers, str) else layers and list(layers)
    if any("net" in m.options for m in chosen):
        given["net"] = (load_backbone() if net is None else net).to(device)
    for m in chosen:
        if m.weights and "net" not in m.options and (why := m.missing()):
            raise ValueError(why)  # said before the first image is measured
    return [m.prepare(**{k: v for k, v in given.items() if k in m.options}) for m in chosen]


class _Reference:
    """A reference, described once for each measure, because the next image often has the same.

    The image itself is held only by the measures that cannot describe it: two large images at a
    time would take twice the memory.
    """

    def __init__(
        self, source: Path | Tensor, measures: Sequence[Prepared], device: torch.device
    ) -> None:
        self.source = source
        image = _load(source, device)
        self.size = image.shape[2:]
        self.functions = {m.name: self._describe(m, image) for m in measures}

    def _describe(self, m: Prepared, image: Tensor) -> Callable[[Tensor], Tensor]:
        try:
            _check_memory(m, image)
            return m.against(image)
        except PROBLEMS as error:
            return partial(_raise, error)  # each image's problem, as if it were compared now

    def check_size(self, job: Job, image: Tensor) -> None:
        """Raise a ValueError unless the job's image has the reference's size."""
        (h, w), (reference_h, reference_w) = image.shape[2:], self.size
        if (h, w) != (reference_h, reference_w):
            raise ValueError(
                f"{job.name}: expected {reference_w} x {reference_h} pixels (width x height), "
                f"those of its reference {job.reference_name}, got {w} x {h}"
            )


def _raise(error: Exception, _: Tensor) -> Tensor:
    raise error


def measure(
    jobs: Iterable[Job], measures: Sequence[Prepared], device: torch.device
) -> Iterator[tuple[Row, list[Exception]]]:
    """One row after the other, each with what went wrong in it; such a measure's value is None."""
    reference: _Reference | None = None
    for job in jobs:
        row: Row = {"picture": job.name}
        if job.reference is not None:
            row["reference"] = job.reference_name
        row |= {m.name: None for m in measures}
        problems: list[Exception] = []
        try:
            if job.reference is not None and (
                reference is None or reference.source is not job.reference
            ):
                reference = None  # the one before goes before the next one comes
                reference = _Reference(job.reference, measures, device)
            image = _load(job.picture, device)
            if reference is not None:
                reference.check_size(job, image)
        except (OSError, ValueError, TypeError) as error:
            problems.append(error)
        else:
            for m in measures:
                try:
                    _check_memory(m, image)
                    with torch.no_grad():
                        function = m.function if reference is None else reference.functions[m.name]
                        value = function(image).item()
                    if math.isnan(value):
                        raise ValueError("it is not defined for this picture")
                    row[m.name] = value
                except PROBLEMS as error:
                    problem = ValueError(f"{job.name}: {m.name}: {error}")
                    problem.__cause__ = error
                    problems.append(problem)
            del image  # before the next one is read
        return_memory()
        yield row, problems


def return_memory() -> None:
    """Give freed memory back to the system, on Linux.

    Feature maps of images of many sizes leave holes that the C library keeps: 200 images between
    100 and 400 pixels a side grew a process by 0.9 GB, none of which was in use.
    """
    with contextlib.suppress(OSError, AttributeError):  # another system, or another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _check_memory(m: Prepared, image: Tensor) -> None:
    """Raise a MemoryError before hours of swapping, or an end without a word."""
    height, width = image.shape[2:]
    needed, free = m.bytes_per_pixel * height * width, free_memory(image.device)
    if needed > free:
        raise MemoryError(
            f"it needs about {needed / 1e9:.1f} GB of memory for {width} x {height} pixels, and "
            f"{free / 1e9:.1f} GB are free"
        )


def free_memory(device: torch.device) -> float:
    """How many bytes are free on a device; infinity where the system does not tell.

    >>> free_memory(torch.device("cpu")) > 0
    True
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available if device.type == "cpu" else math.inf


def _load(picture: Path | Tensor, device: torch.device) -> Tensor:
    return (picture if isinstance(picture, Tensor) else load_image(picture)).to(device)


def _all_or_nothing(results: Iterable[tuple[Row, list[Exception]]]) -> list[Row]:
    rows = []
    for row, problems in results:
        if problems:
            raise problems[0]
        rows.append(row)
    return rows
