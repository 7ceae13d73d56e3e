"""Help and completion: what a shell and its user see before any work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
import typer
from cli_tools import REPOSITORY

from fastfm_deep.cli import main
from fastfm_deep.cli.app import app

COMMANDS = ["train", "score", "evaluate", "report", "inspect", "columns", "convert", "demo"]


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=" ".join)
def test_help_ends_with_examples(capsys, command):
    assert main([*command, "--help"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith("Usage: fastfm-deep")
    _, _, end = captured.out.partition("\n  Examples:\n")
    lines = end.splitlines()
    assert lines
    assert all("fastfm-deep " in line for line in lines)
    if command:
        assert all(f"fastfm-deep {command[0]}" in line for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_commands_that_exist(capsys, name):
    """Each parses; what it names need not be there."""
    group = typer.main.get_command(app)
    assert main([name, "--help"]) == 0
    _, _, end = capsys.readouterr().out.partition("\n  Examples:\n")
    for line in end.splitlines():
        words = line.partition("fastfm-deep ")[2].partition("|")[0].partition(">")[0].split()
        if "--config" in words:  # names a file that would be read
            words = words[: words.index("--config")]
        group.commands[words[0]].make_context(words[0], words[1:])


def completed(capsys, monkeypatch, line: str) -> list[str]:
    """What bash is told when Tab is pressed at the end of a line."""
    words = line.split(" ")
    monkeypatch.setenv("_FASTFM_DEEP_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    assert main([]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fastfm-deep ", COMMANDS),
        ("fastfm-deep ev", ["evaluate"]),
        ("fastfm-deep train --hash", ["--hash-features"]),
        ("fastfm-deep train --optimizer ada", ["adagrad", "adagrad_rowwise", "adam"]),
        ("fastfm-deep score m.safetensors t.txt --unknown-ids ", ["ignore", "error"]),
        ("fastfm-deep convert a b --to lib", ["libsvm", "libffm"]),
        ("fastfm-deep train --format libf", ["libfm", "libffm"]),
    ],
)
def test_completion(capsys, monkeypatch, line, expected):
    assert completed(capsys, monkeypatch, line) == [
        word for word in expected if word.startswith(line.split(" ")[-1])
    ]


def test_files_are_left_to_the_shell(capsys, monkeypatch):
    assert completed(capsys, monkeypatch, "fastfm-deep train trai") == []


def test_a_shell_that_is_unknown_is_an_error(capsys, monkeypatch):
    monkeypatch.setenv("_FASTFM_DEEP_COMPLETE", "complete_csh")
    assert main([]) == 1


def shell(home, command: str) -> subprocess.CompletedProcess[str]:
    """Run a line in bash, where fastfm-deep is a command."""
    folder = home / "bin"
    folder.mkdir(exist_ok=True)
    script = folder / "fastfm-deep"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fastfm_deep "$@"\n')
    script.chmod(0o755)
    environment = os.environ | {
        "HOME": str(home),
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
    }
    return subprocess.run(
        ["bash", "--norc", "-c", command], env=environment, capture_output=True, text=True, timeout=60, cwd=home
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_in_bash(tmp_path):
    """The script that --show-completion prints works, and --install-completion puts it where bash finds it."""
    shown = shell(tmp_path, "fastfm-deep --show-completion; exit $?")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines()[-1] == "complete -o default -F _fastfm_deep_completion fastfm-deep"
    installed = shell(tmp_path, "fastfm-deep --install-completion; echo $?")
    assert installed.stderr == ""
    assert installed.stdout.splitlines()[-1] == "0"
    press = (
        "source ~/.bashrc; COMP_WORDS=(fastfm-deep con); COMP_CWORD=1; "
        '_fastfm_deep_completion fastfm-deep con fastfm-deep; echo "${COMPREPLY[@]}"'
    )
    pressed = shell(tmp_path, press)
    assert (pressed.stdout, pressed.stderr) == ("convert\n", "")
