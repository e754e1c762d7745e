"""Figures as PNG files, for documents and folders of results."""

import io
from collections.abc import Callable

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_STYLE = {"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3, "font.size": 9}
_DOTS_PER_INCH = 130


def png_figure(size: tuple[float, float], draw: Callable[[Figure], None]) -> bytes:
    """Returns a PNG file, the same bytes for the same drawing.

    Args:
      size: width and height in inches.
      draw: fills the empty figure that it is given.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return stream.getvalue()
