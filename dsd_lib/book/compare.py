"""Images to look at: panels that open large, and before and after under a bar."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from dsd_lib.book.component import Html, component, data_uri, inline, whole_zoom
from dsd_lib.checks import check_images


def show_images(
    images: Sequence[Tensor],
    labels: Sequence[str],
    *,
    alt: str,
    zoom: int = 2,
    columns: int | None = None,
    row_labels: Sequence[str] = (),
    notes: Sequence[str] = (),
    quality: int = 100,
) -> Html:
    """Images beside each other, each pixel ``zoom`` × ``zoom`` pixels of the screen.

    A click, Enter or space opens an image large; the arrow keys then change images in place, which
    shows differences better than looking from side to side. Where the page is narrower than an
    image, the zoom drops to the largest one that fits.

    Args:
        images: each ``(1, 3, H, W)`` in [0, 1]; they may differ in size.
        labels: the line below each image.
        alt: what the images show; each image's label is added to it.
        zoom: screen pixels per pixel, a at least 2 where images are compared.
        columns: images per row; all in one row unless given, wrapping where the page is narrow.
        row_labels: a heading above each row, such as "lowest" and "highest"; needs ``columns``.
        notes: a second, smaller line below each image.
        quality: of the stored images, 1 to 99; 100 keeps every pixel.

    Returns:
        A figure that Jupyter shows as HTML.

    Raises:
        ValueError: no images, another number of labels, notes or row labels than fits, an empty
            ``alt``, or ``zoom`` or ``quality`` out of range.

    >>> gray = Tensor(1, 3, 20, 30).fill_(0.5)
    >>> show_images([gray, gray], ["before", "after"], alt="A gray square")
    2 images: before, after
    """
    panels = image_panels(images, labels, alt, quality)
    columns = min(columns or len(panels), len(panels))
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    for name, lines, count in (
        ("row_labels", row_labels, len(rows)),
        ("notes", notes, len(panels)),
    ):
        if lines and len(lines) != count:
            raise ValueError(f"{name}: expected {count}, got {len(lines)}")
    for panel, note in zip(panels, notes, strict=False):
        panel["note"] = inline(note)
    headings = row_labels or [""] * len(rows)
    return component(
        "images",
        f"{len(panels)} images: {', '.join(labels)}",
        scripts=("large", "images"),
        rows=[{"label": h, "panels": row} for h, row in zip(headings, rows, strict=True)],
        columns=columns,
        panel_width=max(panel["width"] for panel in panels) * whole_zoom(zoom),
        zoom=zoom,
    )


def wiper(
    before: Tensor,
    after: Tensor | Sequence[Tensor],
    labels: Sequence[str],
    *,
    alt: str,
    zoom: int = 2,
    quality: int = 100,
) -> Html:
    """Two states of an image on each other, with a bar that wipes from one to the other.

    The bar follows the pointer and the arrow keys. With several images after, any two can be
    compared: a list chooses the one to the left of the bar, buttons the one to the right. Without
    JavaScript the images stand beside each other.

    Args:
        before: ``(1, 3, H, W)`` in [0, 1].
        after: the same image in another state, or several states.
        labels: of all images, the one before first.
        alt: what the images show; each image's label is added to it.
        zoom: screen pixels per pixel, a positive whole number.
        quality: of the stored images, 1 to 99; 100 keeps every pixel.

    Returns:
        A figure that Jupyter shows as HTML.

    Raises:
        ValueError: images of different sizes, another number of labels, an empty ``alt``, or
            ``zoom`` or ``quality`` out of range.

    >>> gray = Tensor(1, 3, 20, 30).fill_(0.5)
    >>> wiper(gray, gray / 2, ["bright", "dark"], alt="A gray square")
    A wiper from bright to dark
    """
    images = [before, *([after] if isinstance(after, Tensor) else after)]
    if len(images) < 2:
        raise ValueError("after: expected at least one image, got none")
    panels = image_panels(images, labels, alt, quality)
    sizes = sorted({(panel["height"], panel["width"]) for panel in panels})
    if len(sizes) > 1:
        raise ValueError(f"expected images of one size, got {sizes}")
    return component(
        "wiper",
        f"A wiper from {labels[0]} to {' or '.join(labels[1:])}",
        scripts=("large", "wiper"),
        styles=("images", "wiper"),
        title=f"{labels[0]} and {', '.join(labels[1:])}, compared",
        panels=panels,
        zoom=whole_zoom(zoom),
    )


def tiles(sheet: Tensor, height: int, width: int | None = None) -> list[list[Tensor]]:
    """The images of a contact sheet, row by row.

    Args:
        sheet: ``(1, 3, rows·height, columns·width)`` in [0, 1].
        height: of each image.
        width: of each image; the height unless given.

    Raises:
        ValueError: the sheet is not a whole number of images high and wide.

    >>> rows = tiles(Tensor(1, 3, 20, 30).fill_(0.5), 10)
    >>> len(rows), len(rows[0]), tuple(rows[0][0].shape)
    (2, 3, (1, 3, 10, 10))
    """
    width = width or height
    if sheet.shape[2] % height or sheet.shape[3] % width:
        raise ValueError(f"expected whole images of {height} × {width}, got {tuple(sheet.shape)}")
    return [list(row.split(width, dim=3)) for row in sheet.split(height, dim=2)]


def image_panels(
    images: Sequence[Tensor], labels: Sequence[str], alt: str, quality: int = 100
) -> list[dict[str, Any]]:
    """What the templates need to know of images and their labels; a ValueError unless they fit."""
    if not images or len(labels) != len(images):
        raise ValueError(
            f"expected one label for each of 1 or more images, got {len(labels)} and {len(images)}"
        )
    if not alt:
        raise ValueError("alt: expected a text, got an empty one")
    for image in images:
        check_images(image, name="images", check_range=False)
    return [
        {
            "source": data_uri(image, quality),
            "width": image.shape[3],
            "height": image.shape[2],
            "label": inline(label),
            "alt": f"{alt}: {label}",
            "note": "",
        }
        for image, label in zip(images, labels, strict=True)
    ]
