"""
Examples below the help of a command.

Owns: their form.
Knows nothing of: the commands.
Driven by: click.
"""

from __future__ import annotations


def examples(*lines: str) -> str:
    """
    What click shows below the options, without filling the lines.
    """
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
