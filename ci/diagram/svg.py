"""A picture as SVG text: the same picture gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from ci.diagram.graph import Graph, Node
from ci.diagram.layout import GROUP_HEAD, HEAD, LINE, Box, Picture, Point, arrange

_COLOURS = (  # the first word that the kind holds decides
    ("alarm", "#c0392b"),
    ("dashboard", "#c0392b"),
    ("budget", "#c0392b"),
    ("rule", "#b0478a"),
    ("schedule", "#b0478a"),
    ("SNS", "#b0478a"),
    ("SQS", "#b0478a"),
    ("Step Functions", "#b0478a"),
    ("Lambda", "#d9822b"),
    ("S3", "#3f8624"),
    ("CodeBuild", "#3b5bdb"),
    ("KMS", "#7d5a00"),
    ("Parameter", "#7d5a00"),
)
_OTHERS = "#00796b"  # SageMaker and what runs on it
_TITLES = {
    "outside": "outside",
    "serving": "serving, made by deploy",
    "pipeline": "pipeline, made by pipeline.py",
}
_LONGEST = 36  # characters of a line in a box
_STYLE = """
text { font-family: "DejaVu Sans", Verdana, sans-serif; fill: #1d2733 }
.head { font-size: 17px; font-weight: bold } .sub { font-size: 11px; fill: #52606d }
.group { fill: #f4f6f8; stroke: #c3cdd6 } .place { font-size: 12px; font-weight: bold }
.node { fill: #fff; stroke: #8794a1 } .title { font-size: 11.5px; font-weight: bold }
.kind, .note { font-size: 9.5px; fill: #52606d }
.under { fill: none; stroke: #fff; stroke-width: 4 }
.arrow { fill: none; stroke: #33475b; stroke-width: 1.3; marker-end: url(#tip) }
"""


def draw(graph: Graph) -> str:
    """Return the picture of a graph."""
    return "\n".join(_lines(graph, arrange(graph))) + "\n"


def _lines(graph: Graph, picture: Picture) -> Iterator[str]:
    width, height = round(picture.width), round(picture.height)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="Services and what triggers what">'
    )
    yield f"<style>{_STYLE}</style>"
    yield (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0.8 8 4 0 7.2z" fill="#33475b"/></marker>'
        "</defs>"
    )
    yield f'<rect width="{width}" height="{height}" fill="#fff"/>'
    yield '<text x="26" y="30" class="head">visionloop: services, and what triggers what</text>'
    yield (
        '<text x="26" y="48" class="sub">A box is a resource of ci/stacks or a step of the '
        "pipeline; an arrow starts, calls or changes its target; reading, writing and telling "
        "are words. Made by python -m ci diagram.</text>"
    )
    for name, box in picture.groups.items():
        yield from _group(name, box)
    for path in picture.paths:
        yield from _path(path)
    for node in graph.nodes.values():
        yield from _node(node, picture.boxes[node.id])
    yield "</svg>"


def _group(name: str, box: Box) -> Iterator[str]:
    yield f'<rect {_place(box)} rx="8" class="group"/>'
    title = _TITLES.get(name, f"stack {name}")
    yield f'<text x="{box.x + 12:g}" y="{box.y + GROUP_HEAD - 9:g}" class="place">{title}</text>'


def _node(node: Node, box: Box) -> Iterator[str]:
    colour = next((colour for word, colour in _COLOURS if word in node.kind), _OTHERS)
    yield f"<g><title>{escape(f'{node.kind} {node.title}')}</title>"
    yield f'<rect {_place(box)} rx="4" class="node"/>'
    yield f'<rect x="{box.x:g}" y="{box.y:g}" width="5" height="{box.height:g}" fill="{colour}"/>'
    x = f"{box.x + 12:g}"
    yield f'<text x="{x}" y="{box.y + 15:g}" class="title">{escape(node.title)}</text>'
    yield f'<text x="{x}" y="{box.y + 28:g}" class="kind">{escape(_cut(node.kind))}</text>'
    for place, note in enumerate(node.notes):
        y = box.y + HEAD + LINE * place + 5
        yield f'<text x="{x}" y="{y:g}" class="note">{escape(_cut(note))}</text>'
    yield "</g>"


def _path(points: Sequence[Point]) -> Iterator[str]:
    words = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    # A white line below each: where two cross, one passes over the other.
    yield f'<polyline points="{words}" class="under"/>'
    yield f'<polyline points="{words}" class="arrow"/>'


def _place(box: Box) -> str:
    return f'x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}"'


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
