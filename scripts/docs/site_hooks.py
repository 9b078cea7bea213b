"""What the site has beside the pages in docs/, for MkDocs (``hooks`` in mkdocs.yml): all of it made of the code.

Pages for each command (from click), for the settings of a training (from train.json and experimental.json), for the
Python packages (from their ``__all__``), and the tutorial (from the notebook). Equations become MathML, which browsers
draw without a script.
"""

import html
import importlib
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

import click
import nbformat
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "bundles" / "brats_mri_metakd_segmentation" / "configs"
PACKAGES = ("networks", "losses", "engines", "handlers", "transforms", "inferers", "metrics")
MODULES = ("equations", "vocabulary", "apps.predict.predictor", "data.cases", "data.nifti", "weights.load")
EQUATION = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
GENERATED = re.compile(r"(tutorial)\.ipynb\)|(settings)\.toml\)")  # pages link to what a repository shows
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):<code>~?(?:[\w.]*\.)?(\w+)</code>")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of the code."""
    pages = {**command_pages(), **python_pages(), "reference/settings.md": settings_page()}
    pages["tutorial.md"] = notebook_page(Path(config.docs_dir) / "tutorial.ipynb")
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(text: str, **_: Any) -> str:
    """Return a page that links to the pages made of a notebook and of settings.toml, not to these."""
    return GENERATED.sub(lambda found: f"{found[1] or found[2]}.md)", text)


def on_page_content(text: str, **_: Any) -> str:
    """Return a page with its equations as MathML, and Sphinx's roles of docstrings as plain names."""
    return ROLE.sub(r"<code>\1</code>", EQUATION.sub(draw, text))


def draw(found: re.Match[str]) -> str:
    """Return one equation as MathML."""
    kind = "inline" if found[2] == "(" else "block"
    return str(convert(html.unescape(found[3]), display=kind))


def command_pages() -> dict[str, str]:
    """Return a page for each command of ``metakd``: its help, and a table of its options."""
    from metakd_monai.cli import main

    return {f"reference/commands/{name}.md": command_page(name, command) for name, command in main.commands.items()}


def command_page(name: str, command: click.Command) -> str:
    """Return the page of one command, made of what click says of it."""
    context = click.Context(command, info_name=f"metakd {name}")
    options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
    records = [record for option in options if (record := option.get_help_record(context))]
    rows = [f"| `{names}` | {html.escape(meaning)} |" for names, meaning in records]
    usage = f"```text\n{command.get_usage(context)}\n```"
    words = html.escape(inspect.cleandoc(command.help or ""), quote=False)
    return "\n\n".join([f"# metakd {name}", words, usage, "\n".join(["| option | meaning |", "|---|---|", *rows])])


def python_pages() -> dict[str, str]:
    """Return a page for each public package, and one for some modules."""
    pages = {}
    for package in PACKAGES:
        names = importlib.import_module(f"metakd_monai.{package}").__all__
        blocks = "\n".join(f"::: metakd_monai.{package}.{name}\n" for name in names)
        pages[f"reference/python/{package}.md"] = f"# metakd_monai.{package}\n\n{blocks}"
    for module in MODULES:
        whole = f"::: metakd_monai.{module}\n    options: {{show_root_heading: false, heading_level: 2}}\n"
        pages[f"reference/python/{module}.md"] = f"# metakd_monai.{module}\n\n{whole}"
    return pages


def settings_page() -> str:
    """Return the settings of a training: name, default (of the configurations), meaning (of settings.toml).

    Raises:
        PluginError: for a setting without a meaning, or a meaning without a setting.
    """
    described = tomllib.loads((ROOT / "docs" / "reference" / "settings.toml").read_text(encoding="utf-8"))
    text = described.pop("introduction")
    for name, meanings in described.items():
        defaults = head_of(json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8")))
        if different := set(defaults) ^ set(meanings):
            raise PluginError(f"settings.toml and {name}.json: {sorted(different)} in one of them only")
        rows = [f"| `--{key}` | {tell(value)} | {meanings[key]} |" for key, value in defaults.items()]
        text += "\n".join(["", f"## {name}.json", "", "| setting | default | meaning |", "|---|---|---|", *rows, ""])
    return text


def head_of(content: dict[str, Any]) -> dict[str, Any]:
    """Return the settings at the head of a configuration, before its first component, and ``init_weights``."""
    names = [key for key in content if key not in ("imports", "bundle_root")]
    first = next((n for n, key in enumerate(names) if isinstance(content[key], dict) or "#" in key), len(names))
    return {key: content[key] for n, key in enumerate(names) if n < first or key == "init_weights"}


def tell(value: Any) -> str:
    """Return a default as one writes it on the command line; "computed" for an expression."""
    if isinstance(value, str) and value.startswith("$"):
        return "computed"
    return f"`{json.dumps(value)}`" if value is not None else "none"


def notebook_page(path: Path) -> str:
    """Return a notebook as a page: its text, and its code as it stands."""
    cells = nbformat.read(path, as_version=4).cells
    parts = [cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```" for cell in cells]
    return "\n\n".join(parts)
