"""Pages that stand alone: one HTML file each, no script, no request, and nothing of a learner's unescaped."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
MAX_CHARS = 20_000

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
h1 { font-size: 1.6rem } h2 { font-size: 1.25rem; margin-top: 2rem } code, pre { font-family: ui-monospace, monospace }
pre { background: #f5f5f5; padding: .7rem 1rem; overflow-x: auto; white-space: pre-wrap; font-size: .87rem }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: .3rem .8rem; text-align: left }
th { border-bottom: 2px solid #888 } td { border-bottom: 1px solid #ddd } td.number, th.number { text-align: right }
.bar { display: flex; width: 16rem; height: 1.4rem; background: #eee; gap: 1px }
.bar span { display: block; height: 100%; overflow: hidden; text-align: center; font-size: .8rem; line-height: 1.4rem }
.bar span, .key { color: #fff } .bar span.none, .key.none { color: #1a1a1a }
.key { display: inline-block; min-width: 1.3rem; text-align: center; border-radius: .2rem; font-size: .8rem }
.legend span.item { margin-right: 1rem; white-space: nowrap }
.pass { background: #1b7f4d } .wrong { background: #b4451f }
.other { background: #76590c } .none { background: #b8b8b8 }
.chip { color: #fff; padding: .1rem .5rem; border-radius: .3rem; font-size: .85rem } .none.chip { color: #1a1a1a }
summary { cursor: pointer }
"""


def page(title: str, body: Iterable[str]) -> str:
    """A whole page; the parts of the body are HTML already."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{text(title)}</title>\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n{chr(10).join(body)}\n</body>\n</html>\n"
    )


def text(value: object) -> str:
    """Anything as text of a page: escaped, without control characters, and not endless.

    >>> text("<b>1</b>")
    '&lt;b&gt;1&lt;/b&gt;'
    """
    return escape(plain(value))


def prose(value: object) -> str:
    """Text of ours, with its `code` as code.

    >>> prose("give `x<y`")
    'give <code>x&lt;y</code>'
    """
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text(value))


def plain(value: object) -> str:
    """Anything as plain text: no terminal colours, no control or direction characters, and not endless."""
    cleaned = CONTROL.sub("\ufffd", ANSI.sub("", str(value).replace("\r\n", "\n")))
    return cleaned if len(cleaned) <= MAX_CHARS else cleaned[:MAX_CHARS] + "\n… (cut)"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """A table; the cells are HTML already, those of the columns in `numbers` stand to the right."""
    right = set(numbers)

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f'<{tag} class="number">{cell}</{tag}>' if index in right else f"<{tag}>{cell}</{tag}>"
            for index, cell in enumerate(cells)
        )

    body = "\n".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f"<table>\n<tr>{line([text(cell) for cell in head], 'th')}</tr>\n{body}\n</table>"


# A sign and a colour for each outcome: right, wrong, stopped or broken, nothing there.
SIGNS = {
    "pass": ("✓", "pass"),
    "partial": ("½", "wrong"),
    "wrong": ("✗", "wrong"),
    "exception": ("!", "other"),
    "timeout": ("T", "other"),
    "out of memory": ("M", "other"),
    "killed": ("K", "other"),
    "malformed": ("?", "other"),
    "not-answered": ("○", "none"),
    "infrastructure": ("…", "none"),
}


def outcome_class(outcome: str) -> str:
    """The colour of an outcome."""
    return SIGNS.get(outcome, ("", "other"))[1]


def bar(counts: Mapping[str, int]) -> str:
    """Shares as one bar, each part with its outcome's sign; the numbers stand in the text beside it."""
    total = sum(counts.values()) or 1
    parts = "".join(
        f'<span class="{outcome_class(name)}" style="width:{100 * count / total:.2f}%" title="{count} {text(name)}">'
        f"{_sign(name)}</span>"
        for name, count in counts.items()
    )
    words = ", ".join(f"{count} {name}" for name, count in counts.items())
    return f'<div class="bar" role="img" aria-label="{text(words)}">{parts}</div>'


def legend(outcomes: Iterable[str]) -> str:
    """What the signs and colours of the bars mean."""
    items = (
        f'<span class="item"><span class="key {outcome_class(name)}">{_sign(name)}</span> {text(name)}</span>'
        for name in outcomes
    )
    return f'<p class="legend">{" ".join(items)}</p>'


def _sign(outcome: str) -> str:
    return SIGNS.get(outcome, ("", "other"))[0]
