"""The access log's lines, written together."""

import asyncio
import io

from capsvc.http.lines import AT_ONCE, LineWriter


class Stream(io.StringIO):
    """Remembers each write."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.broken = broken
        self.written = asyncio.Event()

    def write(self, text: str) -> int:
        """Fail, or remember."""
        if self.broken:
            raise OSError
        if text:
            self.writes.append(text)
            self.written.set()
        return len(text)


def test_at_once_without_a_loop() -> None:
    """Where no loop runs a line is out when write returns."""
    stream = Stream()
    LineWriter(stream).write("a\n")
    assert stream.writes == ["a\n"]


def test_together_and_in_order() -> None:
    """Lines of one moment are one write, by themselves, in order."""
    stream = Stream()
    writer = LineWriter(stream)

    async def some() -> None:
        for n in range(3):
            writer.write(f"{n}\n")
        assert stream.writes == []
        await asyncio.wait_for(stream.written.wait(), 30)
        writer.write("3\n")
        writer.flush()

    asyncio.run(some())
    assert stream.writes == ["0\n1\n2\n", "3\n"]


def test_a_loop_that_ended() -> None:
    """What waited on a loop that has ended goes with the next line."""
    stream = Stream()
    writer = LineWriter(stream)

    async def one(line: str) -> None:
        writer.write(line)

    asyncio.run(one("a\n"))
    writer.write("b\n")
    assert stream.writes == ["a\nb\n"]
    asyncio.run(one("c\n"))
    stream.written.clear()

    async def wait() -> None:
        writer.write("d\n")
        await asyncio.wait_for(stream.written.wait(), 30)

    asyncio.run(wait())
    assert stream.writes[1:] == ["c\nd\n"]


def test_no_write_is_too_large_for_a_pipe() -> None:
    """Many lines are several writes of whole lines."""
    stream = Stream()
    writer = LineWriter(stream)
    lines = [f"{n:099}\n" for n in range(1000)]

    async def all_of_them() -> None:
        for line in lines:
            writer.write(line)
        writer.flush()

    asyncio.run(all_of_them())
    assert "".join(stream.writes) == "".join(lines)
    assert len(stream.writes) > 1
    assert all(len(write) <= AT_ONCE and write.endswith("\n") for write in stream.writes)


def test_a_stream_that_fails() -> None:
    """A full disk or a closed stream stops nobody."""
    LineWriter(Stream(broken=True)).write("a\n")
    stream = Stream()
    stream.close()
    LineWriter(stream).write("a\n")
    assert stream.writes == ["a\n"]
