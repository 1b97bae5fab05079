"""What only the chapters use: images to look at, charts, tables, questions and exercises."""

from dsd_lib.book.charts import chart, dot_plot
from dsd_lib.book.compare import show_images, tiles, wiper
from dsd_lib.book.predict import predict
from dsd_lib.book.tables import table

__all__ = ["chart", "dot_plot", "predict", "show_images", "table", "tiles", "wiper"]
