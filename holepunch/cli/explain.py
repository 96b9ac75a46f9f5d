"""
C{holepunch explain}: why did a session go as it did?

Owns: the command, and the forms of its report for terminals and programs.
Knows nothing of: how the cause is found (L{holepunch.explain}).
Driven by: L{holepunch.cli.main}.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import click
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from holepunch.cli.diagramsvg import renderSVG
from holepunch.cli.diagramtext import renderText
from holepunch.cli.examples import examples
from holepunch.cli.explaindiagram import drawExplanation
from holepunch.cli.explainhtml import renderHTML
from holepunch.cli.options import jsonOption
from holepunch.cli.output import jsonLine, makeOutput
from holepunch.cli.outputfile import OutputFile
from holepunch.cli.running import Status, statusOf
from holepunch.cli.sequencediagram import SequenceDiagram, moment
from holepunch.cli.trace import readTrace
from holepunch.errors import CannotWrite, HolepunchError
from holepunch.explain import Explanation
from holepunch.explain import explain as explainTraces

_MOST_FILES = 2
_outputFile = OutputFile()


@click.command(
    epilog=examples(
        "holepunch connect bob --trace alice.trace",
        "holepunch explain alice.trace bob.trace --html report.html",
    )
)
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option("--svg", type=_outputFile, help="Write the sequence diagram to this file.")
@click.option("--html", type=_outputFile, help="Write the whole report to this file.")
@jsonOption
def explain(files: Sequence[Path], svg: Path | None, html: Path | None, isJSON: bool) -> None:
    """
    Tell why a session went as it did, from its traces.

    FILE is what --trace wrote for one of the two peers; with the files of both, more can be told.
    """
    if len(files) > _MOST_FILES:
        raise click.UsageError("a session has two sides: give at most two traces")
    try:
        explanation = explainTraces([readTrace(file) for file in files])
        diagram = drawExplanation(explanation)
        if svg is not None:
            _write(svg, renderSVG(diagram))
        if html is not None:
            _write(html, renderHTML(explanation, diagram))
    except HolepunchError as error:
        makeOutput(sys.stderr, isJSON).fail(error)
        sys.exit(statusOf(error))
    if isJSON:
        click.echo(jsonLine(explanationAsJSON(explanation)), nl=False)
    else:
        click.echo(explanationAsText(explanation, diagram, Console(highlight=False)), nl=False)
    sys.exit(Status.DONE if explanation.isExplained else Status.FAILED)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error.strerror}") from None


# --- the report ---------------------------------------------------------------------------------


def explanationAsJSON(explanation: Explanation) -> dict[str, Any]:
    """
    For programs.
    """
    side = explanation.case.focus
    return {
        "title": explanation.title,
        "session": side.session,
        "cause": explanation.cause,
        "meaning": explanation.cause.meaning,
        "sentences": explanation.sentences,
        "remedy": explanation.remedy or None,
        "nats": explanation.nats,
        "evidence": [
            {"at": round(each.at, 6), "peer": each.name, "text": each.text}
            for each in explanation.evidence
        ],
        "limits": explanation.limits,
        "complete": explanation.isComplete,
    }


def explanationAsText(explanation: Explanation, diagram: SequenceDiagram, console: Console) -> str:
    """
    For people: what happened and why, what shows it, and the diagram.

    @param console: Knows how wide the terminal is, and whether it shows colours.
    """
    cause = explanation.cause
    parts: list[Any] = [
        Text(explanation.title, "bold"),
        Text(" ".join(explanation.sentences)),
        Text(),
        Text.assemble(("Cause: ", "bold"), (cause.value, "bold blue"), f". {cause.meaning}"),
    ]
    if explanation.remedy:
        parts.append(Text.assemble(("What to do: ", "bold"), explanation.remedy))
    if explanation.nats:
        parts += [Text(), Text("The NATs", "bold")]
        parts += [Padding(Text(each), (0, 0, 0, 2)) for each in explanation.nats]
    if explanation.evidence:
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(justify="right", no_wrap=True)
        for each in explanation.evidence:
            table.add_row(moment(each.at), Text(each.name), Text(each.text))
        parts += [Text(), Text("What shows it", "bold"), Padding(table, (0, 0, 0, 2))]
    parts += [Text(each, "dim") for each in ("", *explanation.limits) if explanation.limits]
    if diagram.messages:
        # What its heading would say stands above already.
        headless = attrs.evolve(diagram, title="Step by step", subtitle="")
        parts += [Text(), renderText(headless, console.width)]
    with console.capture() as capture:
        console.print(Group(*parts))
    # A table fills its columns with spaces.
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())
