"""Figures a reader can move: frames under a slider, a plane of images, and live widgets.

Slider and plane work in the built book, on Colab and in Jupyter, without a kernel and without a
network. The live explorer needs a kernel.
"""

from dsd_lib.book.explorer import DSDExplorer, distort, dsd_explorer
from dsd_lib.book.frames import frame_slider
from dsd_lib.book.plane import PlanePoint, image_plane

__all__ = [
    "DSDExplorer",
    "PlanePoint",
    "distort",
    "dsd_explorer",
    "frame_slider",
    "image_plane",
]
