"""Make the home page's images, ``book/_static/made_*.webp``, from stored results.

    python -m data_scripts.make_thumbnails

Each shows two states side by side, before and after, every pixel drawn as 2 × 2.
"""

import io
import json

from PIL import Image

from data_scripts.shared.results import RESULTS, ROOT
from dsd_lib.files import write_atomically

GAP = 4


def tile(file: str, side: int, column: int, row: int = 0) -> Image.Image:
    """A square of a stored sheet."""
    with Image.open(RESULTS / file) as sheet:
        place = (column * side, row * side, (column + 1) * side, (row + 1) * side)
        return sheet.convert("RGB").crop(place)


def crop_of(task: str, number: int, method: str) -> Image.Image:
    """What a restoration method makes of one of the stored regions."""
    crop = json.loads((RESULTS / f"{task}.json").read_text("utf-8"))["results"]["crops"][number]
    return tile(crop["file"], crop["box"][2], crop["methods"].index(method))


def pair(before: Image.Image, after: Image.Image) -> bytes:
    """Two images side by side, as a WebP file."""
    width, height = before.size
    both = Image.new("RGB", (2 * width + GAP, height), "white")
    both.paste(before, (0, 0))
    both.paste(after, (width + GAP, 0))
    file = io.BytesIO()
    both.resize((2 * both.width, 2 * both.height), Image.Resampling.NEAREST).save(
        file, "WEBP", quality=85, method=6
    )
    return file.getvalue()


def images() -> dict[str, tuple[Image.Image, Image.Image]]:
    """The pairs, before and after."""
    grown, matched = "texture_synthesis_embedded.webp", "fingerprint_results.webp"
    zebra, horse = 2, 0
    return {
        "texture": (tile(grown, 128, 0), tile(grown, 128, 9)),
        "fingerprint": (tile(matched, 128, 0), tile(matched, 128, 1)),
        "super_resolution": (
            crop_of("super_resolution", zebra, "bicubic"),
            crop_of("super_resolution", zebra, "dsd"),
        ),
        "deblurring": (
            crop_of("deblurring", horse, "blurry"),
            crop_of("deblurring", horse, "dsd"),
        ),
    }


def main() -> None:
    """Write the four files."""
    for name, (before, after) in images().items():
        write_atomically(ROOT / "book" / "_static" / f"made_{name}.webp", pair(before, after))


if __name__ == "__main__":
    main()
