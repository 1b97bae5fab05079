"""Precomputed frames under a slider."""

import io
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from dsd_lib.book.component import Html, component, data_uri, whole_zoom


def frame_slider(
    frames: Sequence[Tensor | Figure],
    labels: Sequence[str],
    *,
    title: str,
    alt: str,
    start: int = 0,
    zoom: int = 1,
    quality: int = 100,
) -> Html:
    """Frames under a slider that works by pointer and keyboard, with no kernel and no network.

    A click, Enter or space opens the frame large, where the arrow keys change frames in place.
    Without JavaScript the first frame stays.

    Args:
        frames: images ``(1, 3, H, W)`` in [0, 1], all of one size, or matplotlib figures, which
            are closed after they are drawn.
        labels: the line below each frame, which a screen reader speaks as the slider moves.
        title: what the slider moves through.
        alt: what the frames show; each frame's label is added to it.
        start: index of the frame shown first.
        zoom: screen pixels per pixel, a positive whole number; for tensors.
        quality: of stored tensors, 1 to 99; 100 keeps every pixel. Figures always keep theirs.

    Returns:
        A figure that Jupyter shows as HTML.

    Raises:
        ValueError: no frames, another number of labels, an empty alt or title, or ``start``,
            ``zoom`` or ``quality`` out of range.

    >>> dark = Tensor(1, 3, 8, 8).zero_()
    >>> frame_slider([dark, dark + 1], ["dark", "light"], title="Brightness", alt="A plain square")
    Brightness (a slider over 2 images)
    """
    if not frames or len(labels) != len(frames):
        raise ValueError(
            f"expected one label for each of 1 or more frames, got {len(labels)} and {len(frames)}"
        )
    if not title or not alt:
        raise ValueError("title and alt: expected a text, got an empty one")
    if not 0 <= start < len(frames):
        raise ValueError(f"start: expected 0 to {len(frames) - 1}, got {start}")
    drawn = isinstance(frames[0], Figure)
    sources = [data_uri(*((_draw(f),) if isinstance(f, Figure) else (f, quality))) for f in frames]
    stored = list(dict.fromkeys(sources))  # frames that repeat are stored once
    alts = [f"{alt} {label}" for label in labels]
    return component(
        "frames",
        f"{title} (a slider over {len(frames)} images)",
        scripts=("large", "frames"),
        styles=("images", "frames"),
        title=title,
        first=sources[start],
        alt=alts[start],
        label=labels[start],
        last=len(frames) - 1,
        start=start,
        zoom=1 if drawn else whole_zoom(zoom),
        frames={
            # The first one shown is in the page already.
            "sources": ["" if source == sources[start] else source for source in stored],
            "order": [stored.index(source) for source in sources],
            "labels": list(labels),
            "alts": alts,
        },
    )


def _draw(figure: Figure) -> np.ndarray:
    """A figure as (H, W, 3) bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return np.asarray(Image.open(buffer).convert("RGB"))
