"""What only the chapters use: images to look at, charts, tables, questions and exercises."""

from dsd_lib.extras import needs

with needs("book"):
    import jinja2 as _jinja2  # noqa: F401  templates
    import matplotlib as _matplotlib  # noqa: F401  figures

from dsd_lib.book.charts import chart, dot_plot
from dsd_lib.book.compare import show_images, tiles, wiper
from dsd_lib.book.predict import predict
from dsd_lib.book.tables import table

__all__ = ["chart", "dot_plot", "predict", "show_images", "table", "tiles", "wiper"]
