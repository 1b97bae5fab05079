"""Cut the embedded pictures of ``dsd_lib`` out of scikit-image's and scikit-learn's samples.

    python -m data_scripts.make_sample_images

Both packages carry the files inside their wheels; scikit-learn is only needed here
(``pip install scikit-learn``). The result is lossless WebP, so pixels are those of the source.
"""

from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_image

FOLDER = Path(__file__).parent.parent / "dsd_lib" / "pictures"


def main() -> None:
    """Write all pictures."""
    china, flower = load_sample_image("china.jpg"), load_sample_image("flower.jpg")
    crops = {
        "astronaut": skimage.data.astronaut()[0:256, 128:384],
        "coffee": skimage.data.coffee()[80:320, 200:520],
        "cat": skimage.data.chelsea()[22:278, 34:418],
        "rocket": skimage.data.rocket()[40:296, 200:584],
        "tissue": skimage.data.immunohistochemistry()[128:384, 128:384],
        "gravel": skimage.data.gravel()[128:384, 128:384],
        "temple": china[60:316, 96:480],
        "flower": flower[60:316, 150:534],
    }
    FOLDER.mkdir(exist_ok=True)
    for name, crop in crops.items():
        path = FOLDER / f"{name}.webp"
        Image.fromarray(np.ascontiguousarray(crop)).convert("RGB").save(
            path, lossless=True, quality=100, method=6
        )
        print(f"{path.name}: {crop.shape}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
