"""The data sets that ``data_scripts.download`` knows: where each comes from and what is kept."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.io

from data_scripts.shared.archives import DownloadError

MB, GB = 10**6, 10**9


@dataclass(frozen=True)
class File:
    """A file on the authors' server; ``known_hash`` in pooch's notation, None if unknown."""

    url: str
    known_hash: str | None = None

    @property
    def name(self) -> str:
        """The name to store it under."""
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class DataSet:
    """What a data set is, where it comes from, and where its files go.

    Attributes:
        title: its name in words.
        page: the authors' page.
        terms: its license in short.
        cite: what its authors ask to be cited.
        folder: its folder under the root.
        files: the files to fetch.
        wanted: a regular expression that matches the whole name of each archive member to keep.
        to: where such a member goes in the folder, as a replacement for ``wanted``.
        expected: glob pattern in the folder -> the smallest number of files it must find.
        max_bytes: the most bytes that a transfer, or all archives unpacked, may have.
        max_files: the most files and folders that the archives may hold.
        finish: called with the unpacked folder, for what remains to be done.
        joint_sha1: SHA-1 of all files one after the other, in the order of their names.
    """

    title: str
    page: str
    terms: str
    cite: str
    folder: str
    files: tuple[File, ...]
    wanted: str
    to: str
    expected: dict[str, int]
    max_bytes: int
    max_files: int = 100_000
    finish: Callable[[Path], None] | None = field(default=None, repr=False)
    joint_sha1: str | None = None


def pack_levin_kernels(folder: Path) -> None:
    """Turn k1.mat … k8.mat into levin09.npz; the variable f of each is the kernel.

    A blurry image is the correlation of the sharp one with f, not its convolution.
    """
    files = sorted(folder.glob("k*.mat"))
    kernels = {}
    for file in files:
        content = scipy.io.loadmat(file)
        if "f" not in content:
            raise DownloadError(f"{file.name}: expected a kernel f, got {sorted(content)}")
        kernels[file.stem] = content["f"].astype(np.float32)
    if len(kernels) != 8:
        raise DownloadError(f"levin: expected 8 kernels, got {len(kernels)}")
    np.savez(folder / "levin09.npz", **kernels)
    for file in files:
        file.unlink()


# The hashes of DIV2K and REDS are those that TensorFlow Datasets publishes in
# tensorflow_datasets/datasets/div2k/checksums.tsv and url_checksums/reds.txt; Kodak's is that of
# Meta's NeuralCompression. We know of none for the others.
DIV2K = "https://data.vision.ee.ethz.ch/cvl/DIV2K"
REDS = "https://huggingface.co/datasets/snah/REDS/resolve/main"  # its first author's copy
DATA_SETS = {
    "bsds500": DataSet(
        title="BSDS500: 500 photos, 481×321, in train, val and test",
        page="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/resources.html",
        terms="non-commercial research and education",
        cite="Arbelaez, Maire, Fowlkes, Malik: Contour detection and hierarchical image "
        "segmentation, IEEE TPAMI 2011",
        folder="bsds500",
        files=(
            File(
                "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/BSR/"
                "BSR_bsds500.tgz"
            ),
        ),
        wanted=r"(?:.*/)?images/(train|val|test)/(\d+\.jpg)",
        to=r"\1/\2",
        expected={"train/*.jpg": 200, "val/*.jpg": 100, "test/*.jpg": 200},
        max_bytes=2 * GB,
    ),
    "div2k": DataSet(
        title="DIV2K: 800 + 100 photos of 2K resolution (4 GB)",
        page="https://data.vision.ee.ethz.ch/cvl/DIV2K/",
        terms="academic research only; the photos belong to their owners",
        cite="Agustsson, Timofte: NTIRE 2017 challenge on single image super-resolution: dataset "
        "and study, CVPR workshops 2017",
        folder="div2k",
        files=(
            File(
                f"{DIV2K}/DIV2K_train_HR.zip",
                "sha256:9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335",
            ),
            File(
                f"{DIV2K}/DIV2K_valid_HR.zip",
                "sha256:20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
            ),
        ),
        wanted=r"(?:.*/)?DIV2K_(train|valid)_HR/(\d{4}\.png)",
        to=r"\1/\2",
        expected={"train/*.png": 800, "valid/*.png": 100},
        max_bytes=10 * GB,
    ),
    "reds": DataSet(
        title="REDS: 270 videos of 100 frames, 1280×720, sharp and blurry (70 GB)",
        page="https://seungjunnah.github.io/Datasets/reds.html",
        terms="CC BY 4.0",
        cite="Nah et al.: NTIRE 2019 challenge on video deblurring and super-resolution: dataset "
        "and study, CVPR workshops 2019",
        folder="reds",
        files=tuple(
            File(f"{REDS}/{name}.zip", f"sha256:{sha256}")
            for name, sha256 in {
                "train_sharp": "620294c1c3f23ed26c5ea228633770469c0b28e57d31eb41dc77deb401c6681b",
                "train_blur": "415c360c0d71d2d89af099b3c64e76bca7e1d8317750f8e056e02ebaab957bb8",
                "val_sharp": "53f6ce4791ed3cfca747ff8982ba29b6e8b7cc1927eed742458f45ed93a1a279",
                "val_blur": "23bf86ec4c0ac836ad286507484825a68dd903f3834ceef49fb16f2070c57b77",
            }.items()
        ),
        wanted=r"(?:.*/)?((?:train|val)_(?:sharp|blur)/\d{3}/\d{8}\.png)",
        to=r"\1",
        expected={
            "train_sharp/*/*.png": 24_000,
            "train_blur/*/*.png": 24_000,
            "val_sharp/*/*.png": 3_000,
            "val_blur/*/*.png": 3_000,
        },
        max_bytes=200 * GB,
    ),
    "pieapp": DataSet(
        title="PieAPP: 200 references, distorted images, preferences between pairs (2.2 GB)",
        page="https://github.com/prashnani/PerceptualImageError",
        terms="non-commercial and educational use; read its TERMS_OF_USE.pdf",
        cite="Prashnani, Cai, Mostofi, Sen: PieAPP: perceptual image-error assessment through "
        "pairwise preference, CVPR 2018; for the references Ma et al.: Waterloo Exploration "
        "Database, IEEE TIP 2017",
        folder="pieapp",
        files=(
            File(
                "https://web.ece.ucsb.edu/~ekta/projects/PieAPPv0.1/"
                "all_data_PieAPP_dataset_CVPR_2018.zip"
            ),
        ),
        wanted=r"(?:[^/]+/)?((?:reference_images|distorted_images|labels)/(?:train|val|test)/"
        r"(?:[^/.][^/]*/)?[^/.][^/]*|[^/.][^/]*\.(?:txt|pdf))",
        to=r"\1",
        expected={
            "reference_images/test/*.png": 40,
            "distorted_images/test/*/*.png": 600,
            "labels/test/*pairwise_labels*.csv": 40,
        },
        max_bytes=30 * GB,
    ),
    "tid2013": DataSet(
        title="TID2013: 25 references, 3000 distorted images, MOS (0.9 GB)",
        page="http://www.ponomarenko.info/tid2013.htm",
        terms="education and research, with the authors' notice; see its readme",
        cite="Ponomarenko et al.: Image database TID2013: peculiarities, results and "
        "perspectives, Signal Processing: Image Communication 2015",
        folder="tid2013",
        files=(File("http://www.ponomarenko.info/tid2013/tid2013.rar"),),
        wanted=r"(?:[^/]+/)?((?:reference|distorted)_images/[^/]+\.bmp|mos_[a-z_]+\.txt|readme)",
        to=r"\1",
        expected={
            "reference_images/*": 25,
            "distorted_images/*": 3000,
            "mos_with_names.txt": 1,
            "mos_std.txt": 1,
        },
        max_bytes=10 * GB,
    ),
    "kadid10k": DataSet(
        title="KADID-10k: 81 references, 10125 distorted images, scores (3 GB)",
        page="https://database.mmsp-kn.de/kadid-10k-database.html",
        terms="see the page; the references come from pixabay.com",
        cite="Lin, Hosu, Saupe: KADID-10k: a large-scale artificially distorted IQA database, "
        "QoMEX 2019",
        folder="kadid10k",
        files=(File("https://datasets.vqa.mmsp-kn.de/archives/kadid10k.zip"),),
        wanted=r"(?:[^/]+/)?(images/I\d\d(?:_\d\d_\d\d)?\.png|dmos\.csv)",
        to=r"\1",
        expected={"images/*.png": 10_206, "dmos.csv": 1},
        max_bytes=15 * GB,
    ),
    "kodak": DataSet(
        title="Kodak: 24 photos, 768×512, lossless (15 MB)",
        page="https://r0k.us/graphics/kodak/",
        terms="released by Kodak for unrestricted use, says the page",
        cite="Franzen: Kodak lossless true color image suite, 1999",
        folder="kodak",
        files=tuple(
            File(f"https://r0k.us/graphics/kodak/kodak/kodim{n:02d}.png") for n in range(1, 25)
        ),
        wanted=r"(?:.*/)?(kodim\d\d\.png)",
        to=r"\1",
        expected={"kodim*.png": 24},
        max_bytes=100 * MB,
        joint_sha1="076e2a5fd4515b5fda677f15fe63dd112d266bc5",
    ),
    "levin": DataSet(
        title="Levin et al.: 8 kernels of real camera shake",
        page="https://webee.technion.ac.il/people/anat.levin/",
        terms="research; cite the paper",
        cite="Levin, Weiss, Durand, Freeman: Understanding and evaluating blind deconvolution "
        "algorithms, CVPR 2009",
        folder="kernels",
        files=(
            File("https://webee.technion.ac.il/people/anat.levin/papers/LevinEtalCVPR09Data.rar"),
        ),
        wanted=r"(?:.*/)?im05_flit0([1-8])\.mat",
        to=r"k\1.mat",
        expected={"levin09.npz": 1},
        max_bytes=500 * MB,
        finish=pack_levin_kernels,
    ),
}
