"""The Report artifact: report.json for programs, report.html for people, pictures/.

The page is one file that opens offline; pictures are embedded and also stand beside
it as PNG. `register` binds the reports of all steps into one page with `bind`.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from PIL import Image

from shared.component.errors import InputError
from shared.component.files import atomic, write_json, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
_BODY = re.compile(r"<main>(.*)</main>", re.DOTALL)
_PLOT_DPI = 110


@dataclass
class Section:
    """A titled part of a report; its blocks appear in the order they were added."""

    title: str
    blocks: list[dict[str, Any]] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self.blocks.append({"kind": "text", "text": text})

    def verdict(self, text: str, is_good: bool) -> None:
        """Add a highlighted statement, green or red."""
        self.blocks.append({"kind": "verdict", "text": text, "is_good": is_good})

    def figures(self, figures: Sequence[tuple[str, str, str]]) -> None:
        """Add big numbers, each as (label, value, note)."""
        self.blocks.append({"kind": "figures", "figures": figures})

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add a table; numbers are aligned right, booleans shown as yes and no."""
        cells = [[_cell(value) for value in row] for row in rows]
        self.blocks.append({"kind": "table", "headers": headers, "rows": cells})

    def image(
        self, picture: bytes | Image.Image, caption: str, width_px: int | None = None
    ) -> None:
        """Add one picture, PNG bytes or a PIL image."""
        data = self._keep(picture, caption)
        self.blocks.append(
            {"kind": "image", "source": data, "caption": caption, "width_px": width_px}
        )

    def gallery(self, pictures: Sequence[tuple[Image.Image, str]]) -> None:
        """Add small pictures side by side, each with a caption."""
        items = [(_embed(_jpeg(image), "jpeg"), caption) for image, caption in pictures]
        self.blocks.append({"kind": "gallery", "pictures": items})

    def plot(self, figure: Figure, caption: str, name: str) -> None:
        """Add a matplotlib figure; `name` becomes pictures/<name>.png."""
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=_PLOT_DPI, bbox_inches="tight")
        self.blocks.append(
            {
                "kind": "image",
                "source": self._keep(stream.getvalue(), name),
                "caption": caption,
                "width_px": None,
            }
        )

    def _keep(self, picture: bytes | Image.Image, name: str) -> str:
        data = picture if isinstance(picture, bytes) else _png(picture)
        self.pictures[_slug(name)] = data
        return _embed(data, "png")


@dataclass
class Report:
    """A page under construction.

    lead: one or two sentences that say what was found, shown under the title.
    """

    title: str
    lead: str
    sections: list[Section] = field(default_factory=list)

    def section(self, title: str) -> Section:
        self.sections.append(Section(title))
        return self.sections[-1]

    def write(self, folder: Path, data: Any) -> Path:
        """Write report.json, the pictures and report.html; return the page's path."""
        for section in self.sections:
            for name, picture in section.pictures.items():
                with atomic(folder / "pictures" / f"{name}.png") as aside:
                    aside.write_bytes(picture)
        write_json(folder / "report.json", data)
        page = folder / "report.html"
        write_text(page, _render([(self.title, self._body())], self.title, self.lead))
        return page

    def _body(self) -> str:
        return _ENVIRONMENT.get_template("sections.html").render(sections=self.sections)


def bind(title: str, lead: str, opening: Report, reports: Sequence[Path], page: Path) -> None:
    """Write one page at `page` from `opening` and the pages of finished Report folders.

    Raises:
        InputError: a folder holds no report.html.
    """
    chapters = [(opening.title, opening._body())]
    for folder in reports:
        html = _read_page(folder)
        heading = re.search(r"<title>(.*?)</title>", html)
        body = _BODY.search(html)
        if not heading or not body:
            raise InputError(f"report: {folder / 'report.html'} is no page of this library")
        chapters.append((heading[1], _without_header(body[1])))
    write_text(page, _render(chapters, title, lead))


def read_report(folder: Path) -> Any:
    """Return report.json.

    Raises:
        InputError: the folder holds none, or it is no JSON.
    """
    path = folder / "report.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as err:
        raise InputError(f"report: {path} is missing; give the report of that step") from err
    except ValueError as err:
        raise InputError(f"report: {path} is no JSON: {err}") from err


def _render(chapters: Sequence[tuple[str, str]], title: str, lead: str) -> str:
    return _ENVIRONMENT.get_template("page.html").render(
        title=title, lead=lead, chapters=[(t, _slug(t), body) for t, body in chapters]
    )


def _read_page(folder: Path) -> str:
    path = folder / "report.html"
    try:
        return path.read_text()
    except FileNotFoundError as err:
        raise InputError(f"report: {path} is missing; give the report of that step") from err


def _without_header(body: str) -> str:
    """Drop the page's own title and lead; the bound page has its own."""
    found = re.search(r"<!-- chapter -->(.*)<!-- /chapter -->", body, re.DOTALL)
    return found[1] if found else body


def _cell(value: Any) -> tuple[str, bool]:
    """Return the cell's text and whether it is a number."""
    if isinstance(value, bool):
        return ("yes" if value else "no", False)
    if isinstance(value, float):
        return (f"{value:.3f}", True)
    return (str(value), isinstance(value, int))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "picture"


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.convert("RGB").save(stream, format="JPEG", quality=85)
    return stream.getvalue()


def _embed(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(data).decode()
