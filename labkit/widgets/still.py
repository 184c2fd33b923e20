"""A figure and its sentence, as every consumer of a notebook can show them: a PNG, then a line of text.

    from labkit.widgets.still import show

    show(figure, "im2col needs 1,080 bytes, its input 120: 9.0 times larger.")

The PNG stands in an output of its own (GitHub, nbconvert and an untrusted notebook show it), and the sentence in a
second one as text that can be selected and read aloud. Neither holds an address, a date or a version, so
two runs give the same bytes. Outside a notebook `show` prints the sentence.
"""

import base64
import html
import io
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.widgets.palette import PIXELS_PER_INCH, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

SHARPNESS = 1.5  # PNG pixels per CSS pixel: reads well on a dense screen, 6 to 50 kB a figure
NUM_COLORS = 128  # of the PNG's palette, at most 256

_LIBRARIES = (Path(__file__).resolve().parent.parent, Path(sysconfig.get_path("stdlib")))


def show(figure: "Figure", sentence: str, name: str | None = None) -> None:
    """Displays the figure as a PNG and the sentence below it; call it wherever in the cell it should stand.

    With a name the two outputs have fixed display ids, and `labkit-<name>` can be replaced later.
    """
    publish(*png_bundle(figure_png(figure), sentence), display_id=name and picture_id(name))
    publish(*sentence_bundle(sentence), display_id=name and sentence_id(name))


def figure_png(figure: "Figure") -> bytes:
    """The figure as PNG bytes, the same for the same figure: no date, no version; a pyplot figure is closed."""
    from PIL import Image

    drawn, saved = io.BytesIO(), io.BytesIO()
    with style():
        figure.savefig(drawn, format="png", dpi=SHARPNESS * PIXELS_PER_INCH, pil_kwargs={"compress_level": 1})
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(figure)  # or the inline backend shows it a second time
    with Image.open(drawn) as image:
        _with_few_colors(image.convert("RGB")).save(saved, "PNG", optimize=True)
    return saved.getvalue()


def _with_few_colors(image: "Image") -> "Image":
    """The image in its most common colours, a third of the bytes; the flat ones stay exact, edges move a little."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(image).reshape(-1, 3).astype(np.int32) @ (1 << 16, 1 << 8, 1)
    colors, where, counts = np.unique(pixels, return_inverse=True, return_counts=True)
    if len(colors) > 20_000:  # a photograph: leave it
        return image
    rgb = np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=1)
    palette = rgb[np.argsort(-counts, kind="stable")[:NUM_COLORS]]
    distance = ((rgb[:, None] - palette) ** 2).sum(axis=2)  # len(colors), NUM_COLORS
    flat = Image.frombytes("P", image.size, distance.argmin(axis=1).astype(np.uint8)[where].tobytes())
    flat.putpalette(palette.astype(np.uint8).tobytes())
    return flat


def png_bundle(png: bytes, sentence: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(data, metadata) of an output that holds the PNG, shown at the size in inches that the figure has."""
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))  # the IHDR chunk
    size = {"width": round(width / SHARPNESS), "height": round(height / SHARPNESS), "alt": sentence}
    data = {"image/png": base64.b64encode(png).decode(), "text/plain": "(picture; the line below says what it shows)"}
    return data, {"image/png": size}


def sentence_bundle(sentence: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(data, metadata) of an output that holds the sentence; each line becomes a paragraph."""
    paragraphs = "".join(f"<p>{html.escape(line)}</p>" for line in sentence.splitlines())
    return {"text/html": f'<div style="max-width: 80ch">{paragraphs}</div>', "text/plain": sentence}, {}


def error_bundle(error: BaseException) -> tuple[dict[str, Any], dict[str, Any]]:
    """(data, metadata) of an output that shows an exception with the line of the learner's that raised it."""
    text = describe_error(error)
    return {"text/html": f'<pre role="alert">{html.escape(text)}</pre>', "text/plain": text}, {}


def describe_error(error: BaseException) -> str:
    """The exception in words, and the last line of the learner's own that it came through, if there is one."""
    said = f"No picture: {type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not _is_library(Path(frame.filename))]
    if not theirs:
        return said
    return f"{said}\n  in {theirs[-1].name}, line {theirs[-1].lineno}: {theirs[-1].line}"


def _is_library(path: Path) -> bool:
    return "site-packages" in path.parts or any(path.is_relative_to(library) for library in _LIBRARIES)


def picture_id(name: str) -> str:
    """The display id of the picture with this name: a fixed string, or every build would be a diff."""
    return f"labkit-{name}"


def sentence_id(name: str) -> str:
    """The display id of the sentence below the picture with this name."""
    return f"labkit-{name}-sentence"


def publish(
    data: dict[str, Any], metadata: dict[str, Any], display_id: str | None = None, update: bool = False
) -> None:
    """Sends one output to the notebook, or replaces the one with this id; outside a notebook prints its text."""
    from IPython.core.getipython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        if "image/png" not in data:
            print(data["text/plain"])
    elif update:
        display(data, metadata=metadata, raw=True, display_id=display_id, update=True)
    else:
        display(data, metadata=metadata, raw=True, display_id=display_id)
