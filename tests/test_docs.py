"""The documentation holds: its commands parse and its links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "src/**/*.md", "results/**/*.md")
    for page in REPOSITORY.glob(pattern)
    if not page.name.startswith(".")
)
BLOCK = re.compile(r"^```(?:bash|sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


def commands(page: Path) -> list[list[str]]:
    """The arguments of each `datadouble ...` command in the code blocks of a page."""
    found = []
    for block in BLOCK.findall(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words[:1] == ["torchrun"] and "datadouble" in words:
                found.append(words[words.index("datadouble") + 1 :])
            elif words and words[0].rsplit("/")[-1] == "datadouble":
                found.append(words[1:])
    return found


ALL_COMMANDS = [(page, words) for page in PAGES for words in commands(page)]


def test_the_documentation_shows_commands() -> None:
    assert len(ALL_COMMANDS) > 10


@pytest.mark.parametrize(
    ("page", "words"), ALL_COMMANDS, ids=[f"{p.name}: {' '.join(w)}" for p, w in ALL_COMMANDS]
)
def test_commands_parse(page: Path, words: list[str]) -> None:
    from datadouble.cli.app import app

    command = typer.main.get_command(app)
    if words[0] in ("--help", "--version"):
        return
    while hasattr(command, "commands") and words[:1] != ["--help"]:
        assert words and words[0] in command.commands, f"{page.name}: no verb {' '.join(words[:1])}"
        command, words = command.commands[words[0]], words[1:]
    if "--help" not in words:
        command.make_context(command.name, list(words))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), target


def verbs_below(command: object, name: str = "") -> dict[str, object]:
    """Each command without commands of its own, by its words: `split`, `study readers add`."""
    found: dict[str, object] = {}
    for word, below in command.commands.items():
        words = f"{name} {word}".strip()
        found |= verbs_below(below, words) if hasattr(below, "commands") else {words: below}
    return found


def test_every_verb_and_option_is_in_the_reference() -> None:
    from datadouble.cli.app import app

    text = (REPOSITORY / "docs/reference/command-line.md").read_text()
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    application = typer.main.get_command(app)
    assert sections.keys() == application.commands.keys()
    for verb, command in verbs_below(application).items():
        section = sections[verb.split()[0]]
        if " " in verb:  # a verb of a group has a section below the group's
            below = dict(re.findall(r"^### ([^\n]+)\n(.*?)(?=^### |\Z)", section, re.MULTILINE | re.DOTALL))
            assert verb in below, f"no section '### {verb}'"
            section = below[verb]
        names = {
            name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
        }
        options = {name for name in names if name.startswith("--")}
        told = set(re.findall(r"`(--[a-z-]+)", section))
        assert told == options - {"--help"}, verb


@pytest.mark.parametrize(
    ("recipe", "page"),
    [
        ("coldit", "configuration.md"),
        ("diffguard", "configuration-diffguard.md"),
        ("lesion", "configuration-lesion.md"),
        ("augment", "configuration-augment.md"),
        ("asyndgan", "configuration-asyndgan.md"),
    ],
)
def test_every_setting_and_preset_is_in_the_reference(recipe: str, page: str) -> None:
    from dataclasses import fields, is_dataclass

    from datadouble.recipes import recipe_module
    from datadouble.recipes.config import _toml_value, preset_names

    text = (REPOSITORY / "docs/reference" / page).read_text()
    told = dict(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| `([^`]*)`", text, re.MULTILINE))
    sections = [(field.name, field.default_factory()) for field in fields(recipe_module(recipe).CONFIG)]
    assert all(is_dataclass(section) for _, section in sections)
    assert told == {
        f"{name}.{key.name}": _toml_value(getattr(section, key.name))
        for name, section in sections
        for key in fields(section)
    }
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", text, re.MULTILINE)) >= set(preset_names(recipe))
