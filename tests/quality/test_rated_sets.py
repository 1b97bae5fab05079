"""The readers of data sets with human scores: official layouts, and each way of being wrong."""

import csv
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from dsd_lib.files import data_folder
from dsd_lib.quality import rated_sets
from dsd_lib.quality.rated_sets import RatedImage, RatedPair, RatedSet


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2)).save(path, "BMP" if path.suffix.lower() == ".bmp" else "PNG")


def live(folder: Path) -> None:
    for name in ("reference/sea.png", "distorted/sea_jpeg.png", "distorted/sea_blur.png"):
        image(folder / name)
    (folder / "dmos.csv").write_text(
        "image,reference,distortion,dmos,dmos_std\n"
        "distorted/sea_jpeg.png,reference/sea.png,jpeg,40.5,2.5\n"
        "distorted/sea_blur.png,reference/sea.png,gblur,-0.25,0\n"
    )


def livewild(folder: Path) -> None:
    for name in ("images/1.png", "images/2.png"):
        image(folder / name)
    (folder / "mos.csv").write_text("image,mos,mos_std\nimages/1.png,73.6,20.4\nimages/2.png,9,1\n")


def pieapp(folder: Path) -> None:
    for n in (25, 7):
        image(folder / f"reference_images/test/ref_{n}.png")
        for kind in ("blur_gaussian_intra_0", "noise_inter_3"):
            image(folder / f"distorted_images/test/ref_{n}/distort_{n}_{kind}.png")
    labels = folder / "labels" / "test"
    labels.mkdir(parents=True)
    header = "ref. image, distorted image A, distorted image B, preference for A\n"
    (labels / "ref_25_pairwise_labels.csv").write_text(
        header
        + "ref_25.png,distort_25_blur_gaussian_intra_0.png,distort_25_noise_inter_3.png,0.25\n"
        + "ref_25.png,ref_25.png,distort_25_noise_inter_3.png,1.0\n"
    )
    (labels / "ref_7_pairwise_labels.csv").write_text(
        header + "ref_7.png,distort_7_noise_inter_3.png,distort_7_blur_gaussian_intra_0.png,0.5\n"
    )
    (labels / "ref_7_per_image_score.csv").write_text("not read\n")


def tid2013(folder: Path) -> None:
    for name in ("reference_images/I01.BMP", "reference_images/i25.bmp"):
        image(folder / name)
    for name in ("i01_01_1.bmp", "I01_24_5.BMP", "I25_10_3.bmp"):
        image(folder / "distorted_images" / name)
    (folder / "mos_with_names.txt").write_text(
        "5.51429 I01_01_1.bmp\n3.25000 i01_24_5.bmp\n0.5 i25_10_3.bmp\n"
    )
    (folder / "mos_std.txt").write_text("0.13013\n0.2\n0.3\n")


def kadid10k(folder: Path) -> None:
    for name in ("I01.png", "I01_01_01.png", "I01_25_05.png"):
        image(folder / "images" / name)
    (folder / "dmos.csv").write_text(
        "dist_img,ref_img,dmos,var\nI01_01_01.png,I01.png,4.57,0.496\nI01_25_05.png,I01.png,1,0.9\n"
    )


def csiq(folder: Path) -> None:
    for name in (
        "src_imgs/1600.png",
        "src_imgs/Boston.png",
        "dst_imgs/awgn/1600.AWGN.1.png",
        "dst_imgs/jpeg2000/boston.jpeg2000.5.png",
    ):
        image(folder / name)
    (folder / "csiq.DMOS.csv").write_text(  # as a spreadsheet program writes the sheet
        ",,,,,,,,\nCSIQ,,,,,,,,\n,,,,,,,,\n"
        ",,,image,dst_idx,dst_type,dst_lev,dmos_std,dmos\n"
        ",,,1600,1,noise,1,0.061,0.062\n"
        ",,,boston,4,jpeg 2000,5,0.1,0.75\n"
        ",,,,,,,,\n"
    )


@dataclass(frozen=True)
class Case:
    """A data set: how to make a tiny one, and where its table has what."""

    make: Callable[[Path], None]
    read: Callable[[Path], RatedSet]
    table: str  # the table that the tests below spoil
    first: int  # its first row that holds a score
    score: str  # the score in that row, as written
    columns: tuple[str, ...]  # of the header, as written; none where there is no header
    image: str  # the first rated image
    reference: str | None  # and its reference


LABELS = "labels/test/ref_25_pairwise_labels.csv"
CASES = {
    "live": Case(
        live,
        rated_sets.read_live,
        "dmos.csv",
        2,
        "40.5",
        ("image", "reference", "distortion", "dmos", "dmos_std"),
        "distorted/sea_jpeg.png",
        "reference/sea.png",
    ),
    "livewild": Case(
        livewild,
        rated_sets.read_livewild,
        "mos.csv",
        2,
        "73.6",
        ("image", "mos", "mos_std"),
        "images/1.png",
        None,
    ),
    "pieapp": Case(
        pieapp,
        rated_sets.read_pieapp,
        LABELS,
        2,
        "0.25",
        ("ref. image", " distorted image A", " distorted image B", " preference for A"),
        "distorted_images/test/ref_25/distort_25_blur_gaussian_intra_0.png",
        "reference_images/test/ref_25.png",
    ),
    "tid2013": Case(
        tid2013,
        rated_sets.read_tid2013,
        "mos_with_names.txt",
        1,
        "5.51429",
        (),
        "distorted_images/i01_01_1.bmp",
        "reference_images/I01.BMP",
    ),
    "kadid10k": Case(
        kadid10k,
        rated_sets.read_kadid10k,
        "dmos.csv",
        2,
        "4.57",
        ("dist_img", "ref_img", "dmos", "var"),
        "images/I01_01_01.png",
        "images/I01.png",
    ),
    "csiq": Case(
        csiq,
        rated_sets.read_csiq,
        "csiq.DMOS.csv",
        5,
        "0.062",
        ("image", "dst_type", "dst_lev", "dmos_std", "dmos"),
        "dst_imgs/awgn/1600.AWGN.1.png",
        "src_imgs/1600.png",
    ),
}
WITH_HEADER = {name: case for name, case in CASES.items() if case.columns}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    request.param.make(tmp_path)
    return request.param


@pytest.fixture(params=WITH_HEADER.values(), ids=WITH_HEADER.keys())
def case_with_header(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    request.param.make(tmp_path)
    return request.param


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


# What the tiny sets hold


def test_live(tmp_path: Path) -> None:
    live(tmp_path)
    reference = tmp_path / "reference/sea.png"
    assert rated_sets.read_live(tmp_path) == RatedSet(
        name="LIVE",
        images=(
            RatedImage(tmp_path / "distorted/sea_jpeg.png", reference, "jpeg", 40.5, 2.5),
            RatedImage(tmp_path / "distorted/sea_blur.png", reference, "gblur", -0.25, 0.0),
        ),
        higher_is_better=False,
        pairs=(),
    )


def test_livewild(tmp_path: Path) -> None:
    livewild(tmp_path)
    assert rated_sets.read_livewild(str(tmp_path)) == RatedSet(
        name="LIVE In the Wild",
        images=(
            RatedImage(tmp_path / "images/1.png", None, "", 73.6, 20.4),
            RatedImage(tmp_path / "images/2.png", None, "", 9.0, 1.0),
        ),
        higher_is_better=True,
    )


def test_pieapp_keeps_pairs_with_the_reference(tmp_path: Path) -> None:
    pieapp(tmp_path)
    rated = rated_sets.read_pieapp(tmp_path)
    ref = tmp_path / "reference_images/test/ref_25.png"
    blur = tmp_path / "distorted_images/test/ref_25/distort_25_blur_gaussian_intra_0.png"
    noise = tmp_path / "distorted_images/test/ref_25/distort_25_noise_inter_3.png"
    assert rated.pairs[:2] == (RatedPair(ref, blur, noise, 0.25), RatedPair(ref, ref, noise, 1.0))
    assert len(rated.pairs) == 3
    assert rated.images[:2] == (
        RatedImage(blur, ref, "blur_gaussian", None, None),
        RatedImage(noise, ref, "noise", None, None),
    )
    assert len(rated.images) == 4, "each once, and references are no rated images"


def test_tid2013_in_any_case(tmp_path: Path) -> None:
    tid2013(tmp_path)
    rated = rated_sets.read_tid2013(tmp_path)
    assert rated.higher_is_better
    assert rated.images == (
        RatedImage(
            tmp_path / "distorted_images/i01_01_1.bmp",
            tmp_path / "reference_images/I01.BMP",
            "Gaussian noise",
            5.51429,
            0.13013,
        ),
        RatedImage(
            tmp_path / "distorted_images/I01_24_5.BMP",
            tmp_path / "reference_images/I01.BMP",
            "sparse sampling and reconstruction",
            3.25,
            0.2,
        ),
        RatedImage(
            tmp_path / "distorted_images/I25_10_3.bmp",
            tmp_path / "reference_images/i25.bmp",
            "JPEG",
            0.5,
            0.3,
        ),
    )


def test_kadid10k_is_higher_is_better(tmp_path: Path) -> None:
    kadid10k(tmp_path)
    rated = rated_sets.read_kadid10k(tmp_path)
    assert rated.higher_is_better
    reference = tmp_path / "images/I01.png"
    assert rated.images == (
        RatedImage(tmp_path / "images/I01_01_01.png", reference, "Gaussian blur", 4.57, 0.496),
        RatedImage(tmp_path / "images/I01_25_05.png", reference, "contrast change", 1.0, 0.9),
    )


def test_csiq_below_a_title_and_in_any_case(tmp_path: Path) -> None:
    csiq(tmp_path)
    rated = rated_sets.read_csiq(tmp_path)
    assert not rated.higher_is_better
    assert rated.images == (
        RatedImage(
            tmp_path / "dst_imgs/awgn/1600.AWGN.1.png",
            tmp_path / "src_imgs/1600.png",
            "noise",
            0.062,
            0.061,
        ),
        RatedImage(
            tmp_path / "dst_imgs/jpeg2000/boston.jpeg2000.5.png",
            tmp_path / "src_imgs/Boston.png",
            "jpeg 2000",
            0.75,
            0.1,
        ),
    )


def test_columns_in_another_order_and_further_columns(
    case_with_header: Case, tmp_path: Path
) -> None:
    whole = case_with_header.read(tmp_path)
    table = tmp_path / case_with_header.table
    rows = [[*row[::-1], row[-1]] for row in csv.reader(table.read_text().splitlines())]
    header = rows[case_with_header.first - 2]
    header[-1] = "more"
    with table.open("w", newline="", encoding="utf-8-sig") as stream:
        csv.writer(stream).writerows(rows)
    assert case_with_header.read(tmp_path) == whole


# Each way of being wrong, for every set


def fails(case: Case, folder: Path, error: type[Exception], *said: str | Path) -> None:
    with pytest.raises(error) as caught:
        case.read(folder)
    for words in said:
        assert str(words) in str(caught.value)


def test_no_table(case: Case, tmp_path: Path) -> None:
    for table in tmp_path.glob("labels/test/*pairwise*"):
        table.unlink()
    (tmp_path / case.table).unlink(missing_ok=True)
    fails(case, tmp_path, FileNotFoundError, tmp_path / Path(case.table).parent)


def test_empty_table(case: Case, tmp_path: Path) -> None:
    (tmp_path / case.table).write_text("")
    fails(case, tmp_path, ValueError, tmp_path / case.table, "got an empty file")


def test_table_of_a_header_alone(case_with_header: Case, tmp_path: Path) -> None:
    table = tmp_path / case_with_header.table
    lines = table.read_text().splitlines()[: case_with_header.first - 1]
    table.write_text("\n".join(lines) + "\n")
    fails(case_with_header, tmp_path, ValueError, f"{table}: expected rows below the header")


def test_table_that_is_no_text(case: Case, tmp_path: Path) -> None:
    (tmp_path / case.table).write_bytes(b"\xff\xfe\x00\xd8,\n")
    fails(case, tmp_path, ValueError, f"{tmp_path / case.table}: expected text in UTF-8")


def test_renamed_column(case_with_header: Case, tmp_path: Path) -> None:
    table = tmp_path / case_with_header.table
    for column in case_with_header.columns:
        text = table.read_text()
        pattern = rf"(^|,){re.escape(column)}(,|$)"
        spoiled, n = re.subn(pattern, r"\1renamed\2", text, count=1, flags=re.MULTILINE)
        assert n == 1
        table.write_text(spoiled)
        fails(case_with_header, tmp_path, ValueError, f"{table}, row 1", f"'{column.strip()}'")
        table.write_text(text)


def test_column_twice(case_with_header: Case, tmp_path: Path) -> None:
    table = tmp_path / case_with_header.table
    rows = [[*row, row[-1]] for row in csv.reader(table.read_text().splitlines())]
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    fails(case_with_header, tmp_path, ValueError, f"{table}, row 1: expected each of the columns")


def test_row_too_short_and_too_long(case: Case, tmp_path: Path) -> None:
    table = tmp_path / case.table
    text = table.read_text()
    last = len(text.splitlines()) + 1
    table.write_text(text + "1\n")
    fails(case, tmp_path, ValueError, f"{table}, row {last}: expected ", "got")
    table.write_text(text + ",".join("1" * 12) + " 2 3\n")
    fails(case, tmp_path, ValueError, f"{table}, row {last}: expected ", "got")


@pytest.mark.parametrize("score", ["nan", "inf", "-inf", "", "high", "4,5"])
def test_score_that_is_no_number(case: Case, tmp_path: Path, score: str) -> None:
    table = tmp_path / case.table
    if case.columns and "," in score:
        score = f'"{score}"'
    replace(table, case.score, score)
    fails(case, tmp_path, ValueError, f"{table}, row {case.first}: expected ", score.strip('"'))


@pytest.mark.parametrize("std", ["nan", "-1"])
@pytest.mark.parametrize(
    ("name", "table", "old"),
    [
        ("live", "dmos.csv", "2.5"),
        ("livewild", "mos.csv", "20.4"),
        ("tid2013", "mos_std.txt", "0.13013"),
        ("kadid10k", "dmos.csv", "0.496"),
        ("csiq", "csiq.DMOS.csv", "0.061"),
    ],
)
def test_std_that_is_none(tmp_path: Path, name: str, table: str, old: str, std: str) -> None:
    case = CASES[name]
    case.make(tmp_path)
    replace(tmp_path / table, old, std)
    expected = f"{tmp_path / table}, row {case.first}: expected a finite number of 0 or more"
    fails(case, tmp_path, ValueError, expected, repr(std))


def test_row_twice(case: Case, tmp_path: Path) -> None:
    table = tmp_path / case.table
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, lines[case.first - 1]]) + "\n")
    if case.make is tid2013:
        with (tmp_path / "mos_std.txt").open("a") as stream:
            stream.write("0.4\n")
    row = f"{table}, row {len(lines) + 1}: expected "
    fails(case, tmp_path, ValueError, row, f"once, it came in {table}, row {case.first} too")


def test_no_image(case: Case, tmp_path: Path) -> None:
    file = tmp_path / case.image
    file.unlink()
    row = f"{tmp_path / case.table}, row {case.first}: expected the image"
    fails(case, tmp_path, FileNotFoundError, row, "no such file", file.parent)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].reference])
def test_no_reference(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    case.make(tmp_path)
    (tmp_path / case.reference).unlink()
    row = f"{tmp_path / case.table}, row {case.first}: expected the image"
    fails(case, tmp_path, FileNotFoundError, row, tmp_path / case.reference)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_file_that_is_no_image(case: Case, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / case.image
    file.write_bytes(content)
    row = f"{tmp_path / case.table}, row {case.first}: expected an image in {file}, got: "
    fails(case, tmp_path, ValueError, row)


def test_folder_in_the_place_of_a_image(case: Case, tmp_path: Path) -> None:
    (tmp_path / case.image).unlink()
    (tmp_path / case.image).mkdir()
    fails(case, tmp_path, FileNotFoundError, f"{tmp_path / case.table}, row {case.first}")


# What only one set can have wrong


@pytest.mark.parametrize("preference", ["-0.01", "1.01", "nan", ""])
def test_pieapp_preference_outside_0_to_1(tmp_path: Path, preference: str) -> None:
    pieapp(tmp_path)
    replace(tmp_path / LABELS, "0.25", preference)
    expected = (
        f"{tmp_path / LABELS}, row 2: expected a finite number in [0, 1] in column "
        f"'preference for A', got {preference!r}"
    )
    fails(CASES["pieapp"], tmp_path, ValueError, expected)


def test_pieapp_image_against_itself(tmp_path: Path) -> None:
    pieapp(tmp_path)
    replace(
        tmp_path / LABELS, "distort_25_noise_inter_3.png", "distort_25_blur_gaussian_intra_0.png"
    )
    fails(CASES["pieapp"], tmp_path, ValueError, f"{tmp_path / LABELS}, row 2: expected two im")


def test_pieapp_image_of_another_reference(tmp_path: Path) -> None:
    pieapp(tmp_path)
    replace(tmp_path / LABELS, "ref_25.png,ref_25.png", "ref_25.png,ref_7.png")
    fails(CASES["pieapp"], tmp_path, FileNotFoundError, f"{tmp_path / LABELS}, row 3", "ref_7.png")


def test_tid2013_tables_of_different_length(tmp_path: Path) -> None:
    tid2013(tmp_path)
    (tmp_path / "mos_std.txt").write_text("0.1\n0.2\n")
    fails(CASES["tid2013"], tmp_path, ValueError, "expected 3 rows", "got 2")


@pytest.mark.parametrize("name", ["I01_00_1.bmp", "I01_25_1.bmp", "I01_01.bmp", "sea.bmp"])
def test_tid2013_other_names(tmp_path: Path, name: str) -> None:
    tid2013(tmp_path)
    replace(tmp_path / "mos_with_names.txt", "I01_01_1.bmp", name)
    fails(CASES["tid2013"], tmp_path, ValueError, "mos_with_names.txt, row 1: expected", name)


def test_tid2013_name_in_two_spellings(tmp_path: Path) -> None:
    tid2013(tmp_path)
    image(tmp_path / "reference_images/I25.BMP")
    if len(list((tmp_path / "reference_images").iterdir())) == 2:
        pytest.skip("file names do not differ by case here")
    fails(CASES["tid2013"], tmp_path, ValueError, "row 3", "['I25.BMP', 'i25.bmp']")


@pytest.mark.parametrize("score", ["0.9", "5.1"])
def test_kadid10k_score_off_its_scale(tmp_path: Path, score: str) -> None:
    kadid10k(tmp_path)
    replace(tmp_path / "dmos.csv", "4.57", score)
    fails(CASES["kadid10k"], tmp_path, ValueError, "dmos.csv, row 2", "in [1, 5]", score)


@pytest.mark.parametrize("name", ["I01_00_01.png", "I01_26_01.png", "I01.png"])
def test_kadid10k_other_names(tmp_path: Path, name: str) -> None:
    kadid10k(tmp_path)
    replace(tmp_path / "dmos.csv", "I01_01_01.png", name)
    fails(CASES["kadid10k"], tmp_path, ValueError, "dmos.csv, row 2: expected", name)


@pytest.mark.parametrize(("old", "new"), [("noise,1", "snow,1"), ("noise,1", "noise,6")])
def test_csiq_other_distortion_or_level(tmp_path: Path, old: str, new: str) -> None:
    csiq(tmp_path)
    replace(tmp_path / "csiq.DMOS.csv", old, new)
    fails(CASES["csiq"], tmp_path, ValueError, "csiq.DMOS.csv, row 5: expected")


def test_csiq_as_a_workbook_says_what_to_do(tmp_path: Path) -> None:
    csiq(tmp_path)
    (tmp_path / "csiq.DMOS.csv").rename(tmp_path / "csiq.DMOS.xlsx")
    fails(CASES["csiq"], tmp_path, FileNotFoundError, "csiq.DMOS.csv", "sheet all_by_image as CSV")


def test_distortion_names_are_as_many_as_the_papers_say() -> None:
    assert len(set(rated_sets.TID2013_DISTORTIONS)) == len(rated_sets.TID2013_DISTORTIONS) == 24
    assert len(set(rated_sets.KADID10K_DISTORTIONS)) == len(rated_sets.KADID10K_DISTORTIONS) == 25


# The real sets

needs_data = pytest.mark.skipif("DSD_DATA" not in os.environ, reason="DSD_DATA is not set")


@needs_data
def test_the_real_live() -> None:
    rated = rated_sets.read_live(data_folder("live"))
    assert len(rated.images) == 133
    assert len({p.reference for p in rated.images}) == 7
    counts = Counter(p.distortion for p in rated.images)
    assert set(counts) == {"jpeg", "wnoise", "gblur", "fastfading"}
    per_reference = Counter(p.reference for p in rated.images)
    assert sum(n * (n - 1) // 2 for n in per_reference.values()) == 1204, "pairs of one reference"
    assert all(p.score is not None and p.std is not None for p in rated.images)


@needs_data
def test_the_real_livewild() -> None:
    rated = rated_sets.read_livewild(data_folder("livewild"))
    assert len(rated.images) == 627
    assert all(p.reference is None and 0 <= p.score <= 100 for p in rated.images)


@needs_data
def test_a_real_set_with_one_image_lost(tmp_path: Path) -> None:
    source = data_folder("livewild")
    shutil.copy(source / "mos.csv", tmp_path)
    (tmp_path / "images").symlink_to(source / "images", target_is_directory=True)
    assert len(rated_sets.read_livewild(tmp_path).images) == 627
    text = (tmp_path / "mos.csv").read_text()
    (tmp_path / "mos.csv").write_text(text.replace("images/533.jpg", "images/lost.jpg"))
    with pytest.raises(FileNotFoundError, match=r"mos.csv, row 2: expected the image .*lost.jpg"):
        rated_sets.read_livewild(tmp_path)
