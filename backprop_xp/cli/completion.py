"""``backprop-xp completion``: the script that completes commands in a shell."""

from __future__ import annotations

import os
import sys

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from backprop_xp.cli.help import Command
from backprop_xp.cli.options import Name, output_options
from backprop_xp.cli.output import Output
from backprop_xp.errors import check_name

INSTALLATION = {
    "bash": "backprop-xp completion bash >> ~/.bashrc",
    "zsh": "backprop-xp completion zsh >> ~/.zshrc",
    "fish": "backprop-xp completion fish >> ~/.config/fish/config.fish",
}
"""The command that installs the completion of each shell."""

# click's own script shows either files or names, and this one both. It passes the line as it is
# typed, since Bash splits words at "=" and ":", as in --device=cuda:1.
_BASH = """\
%(complete_func)s() {
    local line="${COMP_LINE:0:COMP_POINT}" IFS=$'\\n' files='' kind value
    local typed="${line##*[[:space:]]}"
    COMPREPLY=()
    while IFS=',' read -r kind value; do
        case $kind in
            plain) COMPREPLY+=("$value") ;;
            dir) files=dirnames ;;
            file) files=default ;;
        esac
    done < <(env COMP_LINE="$line" %(complete_var)s=bash_complete "$1")
    if [[ $files && ! ${COMPREPLY[*]} ]]; then
        compopt -o "$files"
        return
    elif [[ $files ]]; then
        compopt -o filenames
        COMPREPLY+=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
    fi
    if [[ $typed == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${typed%%"${typed##*:}"}"}")
    fi
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

# Added to click's script: compinit, which a new .zshrc does not call, and files after "=".
_ZSH = """\
if ! (( $+functions[compdef] )); then
    autoload -Uz compinit && compinit
fi
""" + ZshComplete.source_template.replace("() {\n", "() {\n    compset -P '[-]*='\n", 1)

# click's own script loses what follows a comma in a value.
_FISH = """\
function %(complete_func)s
    set -l response (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp) \
COMP_CWORD=(commandline -t) %(prog_name)s)
    for completion in $response
        set -l item (string split -m 1 "," -- $completion)
        switch $item[1]
            case plain
                echo $item[2]
            case dir
                __fish_complete_directories $item[2]
            case file
                __fish_complete_path $item[2]
        end
    end
end

complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


class Bash(BashComplete):
    """The completion of Bash, with names and files together."""

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the complete words, and the one to complete."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        return (words, "") if line[-1:].isspace() else (words[:-1], words[-1] if words else "")

    def format_completion(self, item: CompletionItem) -> str:
        """Return the kind and the value."""
        return f"{item.type},{item.value}"


class _OfCompleteWords(ShellComplete):
    """A completion that replaces words with ``--option=``, as those of Zsh and fish do."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """Return the completions of a word, complete with the option in it."""
        option, equals, _ = incomplete.partition("=")
        items = super().get_completions(args, incomplete)
        if equals and option.startswith("--"):
            for item in [one for one in items if one.type == "plain"]:
                item.value = f"{option}={item.value}"
        return items


class Zsh(_OfCompleteWords, ZshComplete):
    """The completion of Zsh."""

    source_template = _ZSH


class Fish(_OfCompleteWords, FishComplete):
    """The completion of fish."""

    source_template = _FISH

    def format_completion(self, item: CompletionItem) -> str:
        """Return the kind, the value, and a description if there is one."""
        about = f"\t{' '.join(item.help.split())}" if item.help else ""
        return f"{item.type},{item.value}{about}"


for _shell in (Bash, Zsh, Fish):
    add_completion_class(_shell)


class _Completion(Command):
    """A command whose help lists the commands that install the completion."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Install it with one of these commands, and start a new shell"):
            for text in INSTALLATION.values():
                formatter.write(f"  {text}\n")


@click.command(cls=_Completion)
@click.argument("shell", required=False, type=Name(INSTALLATION))
@output_options
def command(shell: str | None, console: Output) -> None:
    """Print the script that completes commands, options, values and files in SHELL.

    SHELL is bash, zsh or fish; by default that of the variable SHELL.
    """
    from backprop_xp.cli import COMPLETION, cli

    if shell is None:
        shell = os.path.basename(os.environ.get("SHELL", "")).removesuffix(".exe")
        if shell not in INSTALLATION:
            raise click.UsageError(f"name the shell: {', '.join(INSTALLATION)}")
    check_name("shell", shell, INSTALLATION)
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(cli, {}, "backprop-xp", COMPLETION).source()
    console.result({"shell": shell, "script": script, "installation": INSTALLATION[shell]})
    for line in script.rstrip("\n").split("\n"):
        console.line(line)
    if sys.stdout.isatty():
        console.note(f"to install this, and start a new shell: {INSTALLATION[shell]}")
