"""The command line as a whole: what there is, how it ends, what it never repeats."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from capsvc.cli import main
from capsvc.cli.program import COMMANDS

from .conftest import ROOT, Outcome, Root, Run, command, environment

NOT_YET = ["audit", "backup", "restore", "rekey", "metrics", "introspect", "postgres"]

TOKEN_LIKE = "AgEVaHR0cDovLzEyNy4wLjAuMTo4NzAwAjpjYXAxLjAxMjM0NTY3ODlhYmNkZWY"


def _every_help(run: Run) -> dict[str, str]:
    """The help of the program, of every command and of every sub-command."""
    pages = {"": run("--help").done()}
    for name in COMMANDS:
        pages[name] = run(name, "--help").done()
        group = main.get_command(None, name)  # type: ignore[arg-type]
        for inner in getattr(group, "commands", {}):
            pages[f"{name} {inner}"] = run(name, inner, "--help").done()
    return pages


def test_every_command_has_help(run: Run) -> None:
    """Exactly the commands that there are stand in --help, each with a help of its own; nothing of what is not yet."""
    pages = _every_help(run)
    listed = pages[""].split("Commands:")[1].split("\n")
    assert [line.split()[0] for line in listed if line.startswith("  ") and not line.startswith("   ")] == [
        "init", "serve", "admin-token", "mint", "verify", "discharge", "exchange", "revoke", "tokens", "audiences",
        "keys", "dischargers", "bakery-keys", "inspect", "attenuate", "convert", "check", "keygen", "discharger",
    ]  # fmt: skip
    assert {"tokens list", "tokens show", "audiences list", "audiences add", "audiences set"} <= pages.keys()
    assert {"keys list", "keys rotate", "keys revoke"} <= pages.keys()
    assert {"dischargers list", "dischargers add", "dischargers set", "dischargers remove"} <= pages.keys()
    assert {"bakery-keys list", "bakery-keys prepare", "bakery-keys rotate"} <= pages.keys()
    everything = "\n".join(pages.values()).lower()
    assert [name for name in NOT_YET if name in everything] == []


def test_every_option_is_explained(run: Run) -> None:
    """Every option of every command has a sentence of help."""
    for name in COMMANDS:
        group = main.get_command(None, name)  # type: ignore[arg-type]
        for one in getattr(group, "commands", {name: group}).values():
            assert one.help
            assert [p.name for p in one.params if p.param_type_name == "option" and not p.help] == []


def test_version(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """--version names the program and the version that the distribution has."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    monkeypatch.setattr("importlib.metadata.version", lambda _name: wanted)
    assert run("--version").done() == f"capsvc {wanted}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nosuch"],
        ["--nosuch"],
        ["tokens"],
        ["tokens", "nosuch"],
        ["tokens", "show"],
        ["tokens", "show", "a", "b"],
        ["audiences"],
        ["audiences", "add"],
        ["audiences", "set", "photos"],
        ["keys"],
        ["keys", "revoke"],
        ["keys", "rotate", "default"],
        ["mint"],
        ["mint", "--ttl"],
        ["mint", "--ttl", "1h", "token"],
        ["verify", "--nosuch"],
        ["verify", "a", "b"],
        ["inspect", "--to", "v1"],
        ["convert"],
        ["convert", "--to", "v3"],
        ["attenuate"],
        ["check"],
        ["check", "a = b", "c = d"],
    ],
    ids=" ".join,
)
def test_usage_errors(run: Run, arguments: list[str]) -> None:
    """A command line that is none: exit 2, one line with the code `usage`, which says where to read on."""
    line = run(*arguments).refused(2, "usage")
    assert "--help" in line or "requires an argument" in line


@pytest.mark.parametrize(
    "arguments",
    [
        [TOKEN_LIKE],
        [f"--{TOKEN_LIKE}"],
        [f"--{TOKEN_LIKE}=1"],
        ["tokens", TOKEN_LIKE],
        ["mint", "--ttl", "1h", TOKEN_LIKE],
        ["mint", "--ttl", TOKEN_LIKE],
        ["mint", f"--ttl={TOKEN_LIKE}"],
        ["mint", f"-x{TOKEN_LIKE}"],
        ["verify", TOKEN_LIKE, TOKEN_LIKE],
        ["inspect", TOKEN_LIKE],
        ["inspect", f"./{TOKEN_LIKE}"],
        ["convert", "--to", TOKEN_LIKE],
        ["attenuate", "--config", TOKEN_LIKE, "--caveat", "floor = 1"],
        ["check", TOKEN_LIKE],
        ["check", f"{TOKEN_LIKE} = 1"],
        ["check", f"floor {TOKEN_LIKE} 1"],
        ["check", f"time < {TOKEN_LIKE}"],
        ["check", "action in read", "--config", f"dir/{TOKEN_LIKE}"],
        ["mint", "--ttl", "1h", "--fact", TOKEN_LIKE],
        ["mint", "--ttl", "1h", "--fact", f"{TOKEN_LIKE}=1", "--fact", f"{TOKEN_LIKE}=1"],
        ["verify", "--context", TOKEN_LIKE],
        ["verify", "--url", f"http://{TOKEN_LIKE}"],
        ["verify", "--url", f"https://user:{TOKEN_LIKE}@example.org"],
        ["verify", "--credential-file", TOKEN_LIKE],
        ["verify", "--data-dir", TOKEN_LIKE],
        ["revoke", "--before", TOKEN_LIKE, "--audience", "a", "--subject", "b"],
        ["revoke", TOKEN_LIKE, "--id", "a"],
    ],
    ids=lambda arguments: " ".join(arguments).replace(TOKEN_LIKE, "TOKEN"),
)
def test_no_message_repeats_a_long_argument(run: Run, arguments: list[str], tmp_path: Path) -> None:
    """A token that was given as an argument by mistake is not repeated, wherever it was given."""
    credential = tmp_path / "credential"
    credential.write_text("AgEE")
    if arguments[0] in {"mint", "verify", "revoke"} and not {"--credential-file", "--data-dir"} & set(arguments):
        arguments = [*arguments, "--credential-file", str(credential)]
    outcome = run(*arguments)
    assert outcome.code in {1, 2}, outcome
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1
    assert TOKEN_LIKE not in outcome.err
    assert TOKEN_LIKE[5:47] not in outcome.err


def test_short_arguments_are_repeated(run: Run) -> None:
    """The positive control: what cannot be a token is named, since that helps."""
    assert "'nosuch'" in run("nosuch").refused(2, "usage")


def test_faults_show_no_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the program itself: exit 3, its kind alone, for its message could hold a token."""

    def fail(*_: object) -> None:
        raise KeyError(TOKEN_LIKE)

    monkeypatch.setattr("capsvc.cli.local.parse", fail)
    assert run("check", "floor = 1").refused(3, "internal").endswith("KeyError")


def test_interrupted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """^C ends a command at once, without a word."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("capsvc.cli.local.parse", interrupt)
    assert run("check", "floor = 1") == Outcome(130, "", "")


@pytest.mark.parametrize("arguments", [["inspect"], ["inspect", "--json"], ["convert", "--to", "v1"], ["--help"]])
def test_output_that_cannot_be_written(arguments: list[str], root: Root) -> None:
    """A full disk, a reader that has gone, no standard output at all: exit 3 and one line, whatever the command."""
    stdin = root().encode()
    with Path("/dev/full").open("wb") as full:
        outcomes = [_written_to(full.fileno(), arguments, stdin)]
    reader, writer = os.pipe()
    os.close(reader)
    outcomes.append(_written_to(writer, arguments, stdin))
    os.close(writer)
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *command(*arguments)]
    done = subprocess.run(shell, input=stdin, stderr=subprocess.PIPE, env=environment(), timeout=60, check=False)
    outcomes.append((done.returncode, done.stderr.decode()))
    for code, text in outcomes:
        assert code == 3
        assert len(text.splitlines()) == 1
        assert text.startswith(("capsvc: output: ", "capsvc: unavailable: "))


def _written_to(fd: int, arguments: list[str], stdin: bytes) -> tuple[int, str]:
    done = subprocess.run(
        command(*arguments),
        input=stdin,
        stdout=fd,
        stderr=subprocess.PIPE,
        env=environment(),
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr.decode()


def test_errors_with_nowhere_to_say_them(root: Root) -> None:
    """Without standard error the exit code still tells."""
    shell = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command("inspect")]
    done = subprocess.run(shell, input=b"!", stdout=subprocess.PIPE, env=environment(), timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, b"")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, tmp_path: Path) -> None:
    """Click's completion works under the variable that the README names."""
    env = environment({"_CAPSVC_COMPLETE": f"{shell}_source"})
    script = subprocess.run(command(), capture_output=True, env=env, text=True, cwd=tmp_path, timeout=60, check=False)
    assert script.returncode == 0
    assert "_CAPSVC_COMPLETE" in script.stdout
    env = environment({"_CAPSVC_COMPLETE": "bash_complete", "COMP_WORDS": "capsvc tok", "COMP_CWORD": "1"})
    found = subprocess.run(command(), capture_output=True, env=env, text=True, cwd=tmp_path, timeout=60, check=False)
    assert found.stdout.split() == ["plain,tokens"]


@pytest.mark.parametrize("arguments", [["inspect"], ["attenuate", "--ttl", "5m"], ["convert", "--to", "v1"]])
def test_local_commands_load_no_server_and_no_network(arguments: list[str], root: Root) -> None:
    """What needs no service imports neither a server nor an HTTP client nor a database: it starts fast."""
    program = (
        "import sys\n"
        "from capsvc.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as ended:\n    assert ended.code == 0\n"
        "loaded = {'httpx', 'starlette', 'uvicorn', 'sqlite3', 'sqlite_utils', 'capsvc.authority'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        input=root().encode(),
        capture_output=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
