"""The frame of every HTML report: one file, no network, light and dark, phone width. Pure."""

from __future__ import annotations

from html import escape
from importlib.resources import files

_STATIC = files("taskrig_loadgen.report").joinpath("static")
STYLE = _STATIC.joinpath("page.css").read_text()
SCRIPT = _STATIC.joinpath("page.js").read_text()

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def frame(title: str, body: str) -> str:
    """The whole document; `body` is HTML already escaped."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{body}\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def section(title: str, body: str, *, wide: bool = False, note: str = "") -> str:
    """A titled card; `body` is HTML already escaped."""
    kind = ' class="wide"' if wide else ""
    said = f'<p class="dim">{escape(note)}</p>' if note else ""
    return f"<section{kind}><h2>{escape(title)}</h2>{body}{said}</section>"


def facts(pairs: list[tuple[str, str]]) -> str:
    """Large figures with a word under each."""
    cards = "".join(
        f'<div class="fact"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in pairs
    )
    return f'<div class="facts">{cards}</div>'


def table(head: list[str], rows: list[list[str]], *, texts: int = 1) -> str:
    """A table whose first `texts` columns are text; cells are escaped here.

    A cell that begins with "+ok " or "+no " is coloured as good or bad.
    """
    top = "".join(_cell("th", name, n < texts) for n, name in enumerate(head))
    body = "".join(
        "<tr>" + "".join(_cell("td", value, n < texts) for n, value in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def _cell(tag: str, value: str, is_text: bool) -> str:
    kind = "t" if is_text else ""
    for mark, name in (("+ok ", "good"), ("+no ", "bad")):
        if value.startswith(mark):
            value, kind = value.removeprefix(mark), f"{kind} {name}".strip()
    attribute = f' class="{kind}"' if kind else ""
    return f"<{tag}{attribute}>{escape(value)}</{tag}>"


def definitions(pairs: list[tuple[str, str]]) -> str:
    """Names with their values."""
    items = "".join(f"<dt>{escape(n)}</dt><dd>{escape(v)}</dd>" for n, v in pairs if v)
    return f"<dl>{items}</dl>"


def notice(text: str, kind: str = "") -> str:
    """A line that must not be missed; kind is "", "warn" or "good"."""
    return f'<p class="notice {kind}">{escape(text)}</p>'
