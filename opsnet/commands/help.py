"""What a command says of itself: its help, and what it asks for when it is started without arguments."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opsnet.utils.errors import InputError

WIDTH = 112


@dataclass(frozen=True)
class Help:
    """The text of ``--help``.

    Attributes:
        name: the command, such as ``opsnet-predict``.
        about: what it does, in a sentence or two.
        examples: command lines, each with what it is for.
        keys: the keys that users set, each with a line about it.
        key_title: the line above them.
        more: where to read on.
        ask: the error of a start without arguments, which says what is missing; "" if that is a useful start.
        is_configured: whether it has a yaml in conf/, which Hydra's flags show.
    """

    name: str
    about: str
    examples: Sequence[tuple[str, str]]
    keys: Mapping[str, str]
    more: str
    ask: str = ""
    is_configured: bool = True
    key_title: str = "Keys, as KEY=VALUE or --KEY VALUE; paths and names as they are, in quotes if they have spaces"

    def text(self) -> str:
        """The whole help, without a final line break."""
        hydra = f"Everything else: {self.name} --cfg job prints the configuration, --info how it is put together."
        lines = [
            *textwrap.wrap(f"{self.name}: {self.about}", WIDTH),
            "", "Examples",
            *self.example_lines(),
            "", self.key_title,
            *self._key_lines(),
            "", *textwrap.wrap(self.more, WIDTH),
            *([hydra] if self.is_configured else []),
        ]  # fmt: skip
        return "\n".join(lines)

    def example_lines(self) -> list[str]:
        """The examples, with their purpose beside them where both fit into a line."""
        lines = []
        for purpose, command in self.examples:
            short = len(command) <= 74 and len(purpose) <= 34
            lines += [f"  {command:<74}  {purpose}" if short else f"  {command}\n      {purpose}"]
        return "\n".join(lines).splitlines()

    def refuse_bare(self) -> InputError:
        """The error of a start without arguments; prints what the command does, and how to start it."""
        about = textwrap.wrap(f"{self.name} {self.about}", WIDTH)
        print("\n".join([*about, *self.example_lines()]), file=sys.stderr)
        return InputError(f"{self.ask} ({self.name} --help has more)")

    def _key_lines(self) -> list[str]:
        width = max(map(len, self.keys)) + 2
        wrap = textwrap.TextWrapper(WIDTH, subsequent_indent=" " * (width + 2))
        return [line for key, about in self.keys.items() for line in wrap.wrap(f"  {key:<{width}}{about}")]
