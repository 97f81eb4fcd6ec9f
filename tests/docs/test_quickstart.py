"""The README followed to the letter: every command in it, through real processes, and what it shows is what comes."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from ..gateways.gateway import GATEWAYS, Gateway, Places, free_port  # noqa: TID252 - gateways run in one way

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docs.conftest import Block, Clone, Readme

MORNING = "10:00"
BEHIND = "127.0.0.1:8080"  # where a gateway answers
RANDOM = (
    (re.compile(r"Ag[A-Za-z0-9_-]{80,}"), "TOKEN"),
    (re.compile(r'(?<=id: )\S{22}|(?<="id": ")[^"]{22}|(?<="jti": ")[^"]{22}|(?<=token )\S{22}'), "ID"),
    (re.compile(r'(?<="(?:iat|exp)": )\d{10}'), "SECONDS"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "KID"),
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{43}="), "PUBLIC-KEY"),
    (re.compile(r"\d+ (second|minute|hour)s?( \d+ (second|minute)s?)? (ago|left)"), r"SPAN \4"),
)
INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d):\d\d:\d\dZ")


def _without_chance(text: str, hour: str) -> str:
    """The text without what differs from run to run; in the morning the README's own hours must come out."""
    for pattern, name in RANDOM:
        text = pattern.sub(name, text)
    return INSTANT.sub(r"\1T\2" if hour == MORNING else "INSTANT", text)


def _check(block: Block, clone: Clone, written: str) -> None:
    expected = block.output_at(clone.hour)
    if expected is None:
        assert written == "" or block.shown, f"the README shows nothing of what {block.text} writes: {written}"
    else:
        assert _without_chance(written, clone.hour) == _without_chance(expected, clone.hour), block.text


class Gateways:
    """What the README sets up in front of a static site, one gateway after the other."""

    def __init__(self, clone: Clone) -> None:
        self._clone = clone
        self._running: Gateway | None = None
        site = clone.where / "site" / "files"
        site.mkdir(parents=True)
        (site / "oslo.txt").write_text("oslo\n")

    def start(self, name: str, example: str) -> None:
        """Start this one in the place of the one before; none if there is no such program."""
        self.close()
        if shutil.which(name) is not None:
            authority = urlsplit(self._clone.address()).port
            assert authority is not None
            places = Places(authority, free_port(), self._clone.where / "site")
            self._running = Gateway(name, self._clone.where / name, places, example)

    def paste(self, text: str) -> str | None:
        """Run a block, with the gateway's port; None if there is no gateway."""
        if self._running is None:
            return None
        return self._clone.paste(text.replace(BEHIND, f"127.0.0.1:{self._running.port}"))

    def close(self) -> None:
        """End it."""
        if self._running is not None:
            self._running.close()
            self._running = None


@pytest.fixture
def gateways(clone: Clone) -> Iterator[Gateways]:
    """The gateways in front of the clone's authority."""
    made = Gateways(clone)
    yield made
    made.close()


def _serve_with(settings: str, readme: Readme, clone: Clone) -> None:
    """Put settings at the top of the authority's file, and start it again."""
    file = clone.where / "capsvc-data" / "capsvc.toml"
    file.write_text(settings + file.read_text())
    (run,) = [block for block in readme.of("sh") if block.text.startswith("make run")]
    clone.serve_again(run.text, "^C stops it.")


def _follow(block: Block, readme: Readme, clone: Clone) -> None:
    """Do what a block says where it says it, and see that what it shows is what comes."""
    if block.text.startswith("make run") or "capsvc discharger serve" in block.text:
        expected = block.output_at(clone.hour)
        assert expected is not None
        _check(block, clone, clone.serve(block.text, expected.splitlines()[-1]))
    elif "uvicorn " in block.text:
        clone.serve(block.text, "Uvicorn running on ")
    elif "trusted_proxies" in block.text:
        _serve_with(block.text, readme, clone)
    elif block.language == "sh" and ("curl" not in block.text or shutil.which("curl")):
        _check(block, clone, clone.paste(block.text))
    elif block.language == "python":
        _check(block, clone, clone.python(block.text))


def _follow_behind(block: Block, tried: Block, clone: Clone, gateways: Gateways) -> None:
    """The same for a gateway's example, and for the commands with which each of them is tried."""
    if block is tried:
        written = gateways.paste(block.text)
        if written is not None:
            _check(block, clone, written)
        return
    gateways.start(block.language, block.text)
    if block.language == "caddy":  # it comes after those commands, and says that they print the same
        asked = "".join(line for line in tried.text.splitlines(keepends=True) if line.startswith("curl "))
        assert gateways.paste(asked) in {None, "oslo\n403\n401\n"}


def test_every_block_of_the_readme_does_what_it_says(readme: Readme, clone: Clone, gateways: Gateways) -> None:
    """From the first block to the last, in one clone, in the morning and in the evening."""
    (tried,) = [block for block in readme.blocks if BEHIND in block.text]
    for block in readme.blocks:
        if block is tried or block.language in GATEWAYS:
            _follow_behind(block, tried, clone, gateways)
        else:
            _follow(block, readme, clone)
    # What the evening's reader sees refused by the clock is refused by the room as well.
    explained = clone.terminal.paste("capsvc verify --context floor=1 --context room=102 --explain floor-1.pass")
    assert explained.startswith("allowed\n")
    narrowed = clone.terminal.paste(
        "capsvc attenuate --caveat 'room = 101' floor-1.pass | capsvc verify --context floor=1 --context room=102"
    )
    assert narrowed == "denied: caveat-refused\ncaveat: room = 101\n"
    clone.interrupt()
    assert not (clone.where / "capsvc-data" / "serve.url").exists()


def test_the_story_has_every_step(readme: Readme) -> None:
    """Floor, hours, room and revocation are each shown to refuse, at some time of day, and each is run."""
    shown = "".join(shown.text for block in readme.of("sh") for shown in block.shown)
    for refused in ("floor = 1", "clock < 17:00", "room = 101"):
        assert f"denied: caveat-refused\ncaveat: {refused}\n" in shown
    assert "denied: revoked\ndenied: revoked\nthe door opens\n" in shown
    asked = " ".join("".join(block.text for block in readme.of("sh")).split())
    assert re.search(r"capsvc mint [^|]*--third-party [^|]*\| capsvc discharge [^|]*\| capsvc verify", asked)
    assert "denied: discharge-missing\n" in shown
    assert "\ndeclared.desk.badge: B-0007\n" in shown
