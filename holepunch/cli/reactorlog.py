"""
Where the log of Twisted and of the library's parts goes while a command runs.

Owns: which lines a person sees.
Knows nothing of: the commands.
Driven by: L{holepunch.cli.running}.
"""

from __future__ import annotations

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogBeginner
from zope.interface import provider

from holepunch.cli.notice import Importance, Notice
from holepunch.cli.output import Output

_IMPORTANCE = {
    LogLevel.critical: Importance.ALWAYS,
    LogLevel.error: Importance.ALWAYS,
    LogLevel.warn: Importance.MILESTONE,
    LogLevel.info: Importance.DETAIL,
}


def logTo(output: Output) -> None:
    """
    Tell what is logged: bugs always, the rest as C{-v} says.
    """

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        output.tell(noticeOf(event))

    globalLogBeginner.beginLoggingTo([observe], discardBuffer=True, redirectStandardIO=False)


def noticeOf(event: LogEvent) -> Notice:
    """
    What there is to tell of something that was logged.
    """
    level, failure = event["log_level"], event.get("log_failure")
    text = formatEvent(event)
    if failure is not None:
        text += f"\n{failure.getTraceback().rstrip()}"
    return Notice(
        event="log",
        text=text,
        fields={"level": level.name, "text": text},
        importance=_IMPORTANCE.get(level, Importance.DEBUGGING),
    )
