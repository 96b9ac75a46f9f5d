"""
An explanation as one HTML file that needs nothing else: no script, no font, no other file.

Owns: the page.
Knows nothing of: how the cause was found; how the diagram is drawn.
Driven by: C{holepunch explain --html}.
"""

from __future__ import annotations

import html

from holepunch.cli.diagramsvg import renderSVG
from holepunch.cli.sequencediagram import SequenceDiagram, moment
from holepunch.explain import Cause, Explanation

_STYLE = """
body{font:16px/1.5 system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;
max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1f2328;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
.cause{border-left:.3rem solid #0969da;padding:.2rem 1rem;background:#f6f8fa}
.cause.good{border-color:#1a7f37}.limits{color:#656d76}
table{border-collapse:collapse;font-size:.9rem}td,th{padding:.2rem 1rem .2rem 0;text-align:left;
vertical-align:top}td:first-child,th:first-child{text-align:right;white-space:nowrap}
th{color:#656d76;font-weight:normal}svg{max-width:100%;height:auto}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}
.cause{background:#161b22}.limits,th{color:#8d96a0}}
"""
# Nothing may be loaded, nor run, whatever got into the page.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def renderHTML(explanation: Explanation, diagram: SequenceDiagram) -> str:
    """
    Write the page. All text in it is escaped: a trace may come from a stranger.
    """
    cause = explanation.cause
    isGood = not explanation.remedy or cause is Cause.CONNECTED_BY_RELAY
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_escape(_POLICY)}">',
        f"<title>{_escape(explanation.title)}</title>",
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{_escape(explanation.title)}</h1>",
        f'<div class="cause{" good" if isGood else ""}">',
        f"<p><strong>{_escape(cause.value)}</strong>: {_escape(cause.meaning)}</p></div>",
        f"<p>{_escape(' '.join(explanation.sentences))}</p>",
    ]
    if explanation.remedy:
        parts += ["<h2>What to do</h2>", f"<p>{_escape(explanation.remedy)}</p>"]
    if explanation.nats:
        parts.append("<h2>The NATs</h2>")
        parts += [f"<p>{_escape(each)}</p>" for each in explanation.nats]
    if explanation.evidence:
        parts.append(
            "<h2>What shows it</h2><table><tr><th>after</th><th>seen by</th><th></th></tr>"
        )
        parts += [
            f"<tr><td>{moment(each.at)}</td><td>{_escape(each.name)}</td>"
            f"<td>{_escape(each.text)}</td></tr>"
            for each in explanation.evidence
        ]
        parts.append("</table>")
    parts += [f'<p class="limits">{_escape(each)}</p>' for each in explanation.limits]
    parts += ["<h2>Step by step</h2>", renderSVG(diagram), "</body></html>", ""]
    return "\n".join(parts)


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
