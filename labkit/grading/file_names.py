"""Names for the files of submissions: readable in any script, safe everywhere, and each its own."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256

MAX_BYTES = 120  # of a stem; file systems take 255, ending and temporary parts included
HASHED = re.compile(r"-[0-9a-f]{8}$")  # what one of ours may end with, so that nobody else's may


def file_names(submissions: Iterable[str]) -> dict[str, str]:
    """The stem of each submission's files; where two would look alike, each gets a part of its hash.

    >>> file_names(["ann", "J\u00f6rg M\u00fcller"])
    {'ann': 'ann', 'J\u00f6rg M\u00fcller': 'J\u00f6rg_M\u00fcller'}
    """
    safe = {name: _safe(name) for name in submissions}
    how_often = Counter(each.casefold() for each in safe.values())  # some file systems do not tell A from a
    return {
        name: each if each and how_often[each.casefold()] == 1 and not HASHED.search(each) else _hashed(name, each)
        for name, each in safe.items()
    }


def _safe(name: str) -> str:
    """Letters, marks and digits of any script, and `._-`; anything else becomes one `_`."""
    kept = (each if each in "._-" or _is_word(each) else " " for each in unicodedata.normalize("NFC", name))
    return _cut("_".join("".join(kept).split()).lstrip("._-"))


def _is_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"


def _cut(text: str) -> str:
    return text.encode()[:MAX_BYTES].decode(errors="ignore")


def _hashed(name: str, safe: str) -> str:
    return f"{safe or 'submission'}-{sha256(name.encode(errors='replace')).hexdigest()[:8]}"
