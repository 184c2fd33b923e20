"""Why a file cannot be read as a notebook, in words: what it is instead, and what to do."""

import json

OTHERS = (  # how files begin that are handed in for notebooks
    (b"<", "a web page, not a notebook: download the notebook itself and hand that in"),
    (b"%PDF", "a PDF, not a notebook: hand in the file NAME.ipynb"),
    (b"PK\x03\x04", "an archive, not a notebook: hand in the notebook that is in it"),
    (b"\x1f\x8b", "an archive, not a notebook: hand in the notebook that is in it"),
    (b"\x89PNG", "a picture, not a notebook: hand in the file NAME.ipynb"),
)
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
CONFLICT = b"<<<<<<< "
AGAIN = "save it again from JupyterLab and hand that in"


def why_no_notebook(data: bytes, error: Exception) -> str:
    """A sentence about a file whose bytes could not be read as JSON.

    >>> why_no_notebook(b'{"cells": [', ValueError())
    'this file is cut off in the middle: hand it in again'
    """
    start, end = data[:200].lstrip(), data[-200:].rstrip()
    if not start:
        return "this file is empty: hand it in again"
    if data.startswith(UTF_16):
        return f"this file is a text in UTF-16, and a notebook is one in UTF-8: {AGAIN}"
    for beginning, words in OTHERS:
        if start.startswith(beginning):
            return f"this file is {words}"
    if not start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return f"this file is not a notebook, only called like one: {AGAIN}"
    if b"\n" + CONFLICT in data:
        return "this file holds git's conflict marks (<<<<<<<): resolve the conflict, and hand it in again"
    if not end.endswith(b"}"):
        return "this file is cut off in the middle: hand it in again"
    line = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
    return f"this file was a notebook and is broken{line}, as if edited by hand: {AGAIN}"
