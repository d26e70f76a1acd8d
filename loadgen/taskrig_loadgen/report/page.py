"""The frame of every HTML report: one file, no network, light and dark, phone width. Pure."""

from __future__ import annotations

from html import escape

STYLE = """
:root{color-scheme:light dark;--bg:#fbfbfa;--card:#fff;--ink:#1d2329;--dim:#5b6670;--rule:#dfe3e6;
--good:#1a7f4b;--bad:#c0282d;--warn:#9a6700;--s1:#2463c4;--s2:#c2571a;--s3:#2f8a57;--s4:#7a4bb5;
--s5:#b08900;--s6:#6b7680}
@media (prefers-color-scheme:dark){:root{--bg:#14171a;--card:#1c2024;--ink:#e6e9eb;--dim:#9aa5ae;
--rule:#333a40;--good:#4cc38a;--bad:#ff7b7b;--warn:#e2b341;--s1:#7aa9f7;--s2:#f0975c;--s3:#63c492;
--s4:#b697ec;--s5:#dcb93f;--s6:#9aa5ae}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:20px 16px 48px}
h1{font-size:1.45rem;margin:0 0 2px}h2{font-size:1.05rem;margin:0 0 8px}
p{margin:.4em 0}.dim,.none,.label{color:var(--dim)}
.grid2{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:14px}
section,.fact{background:var(--card);border:1px solid var(--rule);border-radius:8px;
padding:12px 14px}
section{min-width:0}
.facts{display:flex;flex-wrap:wrap;gap:10px;margin:14px 0}
.fact{padding:8px 14px;flex:1 1 120px}.fact b{display:block;font-size:1.3rem;white-space:nowrap}
.fact span{color:var(--dim);font-size:.85rem}
.notice{border-left:4px solid var(--bad);padding:6px 12px;margin:8px 0;background:var(--card)}
.notice.warn{border-color:var(--warn)}.notice.good{border-color:var(--good)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:4px 8px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
th{color:var(--dim);font-weight:600;font-size:.85rem}
th.t,td.t{text-align:left;white-space:normal;overflow-wrap:anywhere;min-width:6.5em}
td.good{color:var(--good)}td.bad{color:var(--bad);font-weight:600}
svg{display:block;width:100%;height:auto}svg text{fill:var(--ink);font-size:13px}
svg text.label,svg .label{fill:var(--dim)}.chart{position:relative}
.grid{stroke:var(--rule);stroke-width:1}.line{fill:none;stroke-width:2;stroke-linejoin:round}
.area{opacity:.18;stroke:none}.mark{stroke:var(--ink);stroke-width:2}
.cursor{stroke:var(--dim);stroke-dasharray:3 3}
.line.s1{stroke:var(--s1)}.line.s2{stroke:var(--s2)}.line.s3{stroke:var(--s3)}
.line.s4{stroke:var(--s4)}.line.s5{stroke:var(--s5)}.line.s6{stroke:var(--s6);stroke-dasharray:5 4}
.s1{fill:var(--s1)}.s2{fill:var(--s2)}.s3{fill:var(--s3)}.s4{fill:var(--s4)}.s5{fill:var(--s5)}
.s6{fill:var(--s6)}.line{fill:none}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 16px;margin:4px 0 0;padding:0;
font-size:.87rem}.key{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:6px}
.key.s1{background:var(--s1)}.key.s2{background:var(--s2)}.key.s3{background:var(--s3)}
.key.s4{background:var(--s4)}.key.s5{background:var(--s5)}.key.s6{background:var(--s6)}
.tip{position:absolute;top:8px;padding:5px 9px;background:var(--card);border:1px solid var(--rule);
border-radius:6px;font-size:.82rem;pointer-events:none;white-space:nowrap;z-index:2}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:2px 14px;margin:0}
dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}code{overflow-wrap:anywhere}
.wide{grid-column:1/-1}
"""

# Shows a chart's values under the pointer; the page is complete without it.
SCRIPT = """
for(const box of document.querySelectorAll('[data-hover]')){
const data=JSON.parse(box.dataset.hover),svg=box.querySelector('svg'),tip=box.querySelector('.tip'),
cursor=box.querySelector('.cursor');
const hide=()=>{tip.hidden=true;cursor.setAttribute('x1',-9);cursor.setAttribute('x2',-9)};
box.addEventListener('pointermove',event=>{const area=svg.getBoundingClientRect();
const at=(event.clientX-area.left)/area.width*480;let best=0;
data.x.forEach((x,i)=>{if(Math.abs(x-at)<Math.abs(data.x[best]-at))best=i});
cursor.setAttribute('x1',data.x[best]);cursor.setAttribute('x2',data.x[best]);
tip.replaceChildren();const head=document.createElement('b');head.textContent=data.at[best];
tip.append(head);for(const [label,values] of data.lines){const row=document.createElement('div');
row.textContent=label+': '+values[best];tip.append(row)}tip.hidden=false;
const left=data.x[best]/480*area.width;tip.style.left=left>area.width/2?'':left+10+'px';
tip.style.right=left>area.width/2?area.width-left+10+'px':''});
box.addEventListener('pointerleave',hide)}
"""

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
