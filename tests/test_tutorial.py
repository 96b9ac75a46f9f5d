"""
The programs of docs/tutorial.md, run as they stand there.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.program import ProgramTestCase

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.md"
TWISTD = "from twisted.scripts.twistd import run; run()"


def programs() -> dict[str, str]:
    """
    The programs by their file names, which stand in their first line.
    """
    blocks: list[str] = re.findall(
        r"^```python\n(# \S+\n.*?)^```$", TUTORIAL.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return {block.split("\n", 1)[0][2:]: block for block in blocks}


class RunTutorial(ProgramTestCase):
    """
    What the tutorial says is true.
    """

    def setUp(self) -> None:
        super().setUp()
        for name, text in programs().items():
            # The service's ports may be taken where the tests run.
            text = re.sub(r"\b(4460|3478)\b", "0", text) if name.endswith(".tac") else text
            Path(self.directory, name).write_text(text, "utf-8")

    async def test_clock(self) -> None:
        """
        The clock tells the time to whoever asks, and who asked.
        """
        clock = self.start("clock.py", self.rendezvous)
        await clock.says("ready")
        ask = self.start("ask.py", self.rendezvous)
        self.assertEqual(await ask.exits(), 0)
        self.assertRegex(ask.said, r"\d\d:\d\d:\d\d \d{4}\n$")
        await clock.says(" asks from ")

    async def test_nobody(self) -> None:
        """
        Where nobody is registered as the clock, that is what is said.
        """
        ask = self.start("ask.py", self.rendezvous)
        self.assertEqual(await ask.exits(), 0)
        self.assertIn("no peer clock is registered", ask.said)

    async def test_datagrams(self) -> None:
        """
        Datagrams go there and back.
        """
        shout = self.start("datagrams.py", "shout", self.rendezvous)
        await shout.says("ready")
        whisper = self.start("datagrams.py", "whisper", self.rendezvous)
        self.assertEqual(await whisper.exits(), 0)
        self.assertIn("IS ANYBODY THERE?", whisper.said)
        self.assertIn(" ms to ", whisper.said)

    async def test_service(self) -> None:
        """
        The service with rules of its own introduces peers, and calls nobody root.
        """
        service = self.start("-c", TWISTD, "-n", "--pidfile=", "-y", "service.tac")
        location = (await service.says("rendezvous service ")).split()[-1]
        clock = self.start("clock.py", location)
        await clock.says("ready")
        ask = self.start("ask.py", location)
        self.assertEqual(await ask.exits(), 0)
        await service.says("introduced somebody to clock")

    async def test_simulated(self) -> None:
        """
        The tutorial's own tests pass.
        """
        trial = self.start("-m", "twisted.trial", "test_clock")
        self.assertEqual(await trial.exits(), 0)
        self.assertIn("PASSED (successes=2)", trial.said)
