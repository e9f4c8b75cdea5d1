"""Where boxes and arrows go: places in columns, arrows through the gutters between them.

Every arrow has a track of its own. To the next column it crosses one gutter; farther, or
back, it runs along a lane below everything; within a column it loops through the gutter on
the right, or goes straight down to the box below.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ci.diagram.graph import Graph, Node
from ci.diagram.steps import GROUP as PIPELINE_GROUP

# Left to right as things happen; a stack that is not named here comes last.
COLUMNS = (
    ("outside", "foundation"),
    ("ci", "triggers"),
    (PIPELINE_GROUP,),
    ("registry", "parameters"),
    ("deploy", "labeling"),
    ("serving", "observe"),
)
WIDTH, STEP_WIDTH = 212, 116
LINE, HEAD, GAP, PAD = 13, 36, 14, 12
GROUP_HEAD, GROUP_GAP = 26, 22
TRACK, MARGIN, TOP = 9, 26, 64
Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height


@dataclass
class Picture:
    """Everything in its place."""

    boxes: dict[str, Box] = field(default_factory=dict)
    groups: dict[str, Box] = field(default_factory=dict)
    paths: list[list[Point]] = field(default_factory=list)
    width: float = 0
    height: float = 0


def arrange(graph: Graph) -> Picture:
    """Place all boxes, then route all arrows."""
    columns = _columns(graph)
    roads = _Roads(graph, {name: i for i, names in enumerate(columns) for name in names})
    picture = Picture()
    x = float(MARGIN)
    for number, names in enumerate(columns):
        x += roads.gutter_width(number)
        y, width = float(TOP), 0.0
        for name in names:
            box = _place_group(graph, name, x, y, picture)
            y, width = box.bottom + GROUP_GAP, max(width, box.width)
        for name in names:
            whole = picture.groups[name]
            picture.groups[name] = Box(x, whole.y, width, whole.height)
        x += width
        roads.column_ends.append((x - width, x))
    picture.width = x + roads.gutter_width(len(columns)) + MARGIN
    floor = max(box.bottom for box in picture.groups.values()) + GROUP_GAP
    picture.paths = roads.paths(picture, floor)
    picture.height = floor + TRACK * len(roads.far) + MARGIN
    return picture


def _columns(graph: Graph) -> list[list[str]]:
    groups = list(dict.fromkeys(node.group for node in graph.nodes.values()))
    known = [[name for name in names if name in groups] for names in COLUMNS]
    named = {name for names in COLUMNS for name in names}
    return [names for names in [*known, [g for g in groups if g not in named]] if names]


def _place_group(graph: Graph, name: str, x: float, y: float, picture: Picture) -> Box:
    rows = _rows(graph, name)
    if name == PIPELINE_GROUP:
        width = max(len(row) for row in rows) * (STEP_WIDTH + GAP) - GAP
        below = _place_steps(graph, rows, (x + PAD, width), y + GROUP_HEAD, picture)
    else:
        width, below = WIDTH, y + GROUP_HEAD
        for node in (node for row in rows for node in row):
            picture.boxes[node.id] = Box(x + PAD, below, WIDTH, _height(node))
            below += _height(node) + GAP
    picture.groups[name] = Box(x, y, width + 2 * PAD, below - y)
    return picture.groups[name]


def _place_steps(
    graph: Graph,
    rows: Sequence[Sequence[Node]],
    span: tuple[float, float],
    y: float,
    picture: Picture,
) -> float:
    """Place steps row by row, each below what it waits for; return where they end.

    span: left and width.
    """
    left, width = span
    for row in rows:
        if row[0].notes:  # the pipeline itself
            picture.boxes[row[0].id] = Box(left, y, width, _height(row[0]))
        free = left
        wishes = {
            node.id: _below_parents(graph, node.id, picture, left + width / 2) for node in row
        }
        same = len(set(wishes.values())) == 1  # all below one: side by side, around it
        for place, node in enumerate(sorted(row, key=lambda node: wishes[node.id])):
            if row[0].notes:
                continue
            wish = wishes[node.id] - STEP_WIDTH / 2
            if same:
                wish += (place - (len(row) - 1) / 2) * (STEP_WIDTH + GAP)
            start = min(max(wish, free), left + width - STEP_WIDTH)
            picture.boxes[node.id] = Box(start, y, STEP_WIDTH, _height(node))
            free = start + STEP_WIDTH + GAP
        y += max(map(_height, row)) + 2 * GAP
    return y


def _below_parents(graph: Graph, node: str, picture: Picture, middle: float) -> float:
    """Return the middle of what a step waits for."""
    boxes = [picture.boxes[s] for s, t in graph.edges if t == node and s in picture.boxes]
    centres = [box.x + box.width / 2 for box in boxes]
    return sum(centres) / len(centres) if centres else middle


def _height(node: Node) -> float:
    return HEAD + LINE * len(node.notes)


def _rows(graph: Graph, group: str) -> list[list[Node]]:
    """Return the nodes in the order in which one follows the other; steps side by side."""
    nodes = [node for node in graph.nodes.values() if node.group == group]
    depths = _depths([node.id for node in nodes], graph)
    touched = {end for edge in graph.edges for end in edge}
    ordered = sorted(nodes, key=lambda node: (node.id not in touched, depths[node.id]))
    if group != PIPELINE_GROUP:
        return [[node] for node in ordered]
    rows: dict[int, list[Node]] = defaultdict(list)
    for node in ordered:
        rows[depths[node.id]].append(node)
    return [rows[depth] for depth in sorted(rows)]


def _depths(ids: Sequence[str], graph: Graph) -> dict[str, int]:
    """Return how many arrows lead to each; one that closes a circle does not count."""
    before: Mapping[str, list[str]] = {
        node: [s for s, t in graph.edges if t == node and s in ids] for node in ids
    }

    def depth(node: str, seen: frozenset[str]) -> int:
        fresh = [s for s in before[node] if s not in seen]
        return 1 + max((depth(s, seen | {node}) for s in fresh), default=-1)

    return {node: depth(node, frozenset({node})) for node in ids}


class _Roads:
    """The arrows' tracks: which gutter each uses, and in which order.

    column_ends: left and right of each column, filled in as columns are placed.
    """

    def __init__(self, graph: Graph, column_of: Mapping[str, int]) -> None:
        self._column = {node.id: column_of[node.group] for node in graph.nodes.values()}
        self._group = {node.id: node.group for node in graph.nodes.values()}
        self._edges = list(graph.edges)
        self.column_ends: list[tuple[float, float]] = []
        self.far = [e for e in self._edges if self._span(e) not in (0, 1)]
        self._tracks: dict[int, list[tuple[tuple[str, str], str]]] = defaultdict(list)
        for edge in self._edges:
            if self._is_step(edge):
                continue
            self._tracks[self._column[edge[0]] + 1].append((edge, "out"))
            if edge in self.far:
                self._tracks[self._column[edge[1]]].append((edge, "in"))

    def _span(self, edge: tuple[str, str]) -> int:
        return self._column[edge[1]] - self._column[edge[0]]

    def _is_step(self, edge: tuple[str, str]) -> bool:
        return {self._group[end] for end in edge} == {PIPELINE_GROUP}

    def gutter_width(self, number: int) -> float:
        """Return the width of the gutter left of a column."""
        count = len(self._tracks[number])
        return TRACK * (count + 2) if count else (0 if number == 0 else 2 * TRACK)

    def paths(self, picture: Picture, floor: float) -> list[list[Point]]:
        """Return the corners of every arrow."""
        ports = self._ports(picture)
        tracks = self._track_positions(picture)
        paths = []
        for edge in self._edges:
            if self._is_step(edge):
                paths.append(_straight(picture.boxes[edge[0]], picture.boxes[edge[1]]))
                continue
            start, end = ports[edge, "out"], ports[edge, "in"]
            out = tracks[edge, "out"]
            if edge not in self.far:
                paths.append([start, (out, start[1]), (out, end[1]), end])
                continue
            lane = floor + TRACK * self.far.index(edge)
            back = tracks[edge, "in"]
            turn: list[Point] = [(out, start[1]), (out, lane), (back, lane), (back, end[1])]
            paths.append([start, *turn, end])
        return paths

    def _ports(self, picture: Picture) -> dict[tuple[tuple[str, str], str], Point]:
        """Return where arrows leave and arrive: spread along a side by where they lead."""
        sides: dict[tuple[str, str], list[tuple[float, tuple[str, str], str]]] = defaultdict(list)
        for edge in self._edges:
            source, target = picture.boxes[edge[0]], picture.boxes[edge[1]]
            side = "right" if self._span(edge) == 0 else "left"
            sides[edge[0], "right"].append((target.y, edge, "out"))
            sides[edge[1], side].append((source.y, edge, "in"))
        found = {}
        for (node, side), ends in sides.items():
            box = picture.boxes[node]
            for place, (_, edge, way) in enumerate(sorted(ends), 1):
                y = box.y + box.height * place / (len(ends) + 1)
                found[edge, way] = (box.right if side == "right" else box.x, y)
        return found

    def _track_positions(self, picture: Picture) -> dict[tuple[tuple[str, str], str], float]:
        """Return the x of every track; those that turn first lie outermost, so few cross."""
        found = {}
        for number, tracks in self._tracks.items():
            left = self.column_ends[number - 1][1] if number else self.column_ends[0][0]
            left = left if number else left - self.gutter_width(0)

            def order(track: tuple[tuple[str, str], str]) -> tuple[bool, float, str]:
                (source, target), _ = track
                from_y, to_y = picture.boxes[source].y, picture.boxes[target].y
                return to_y > from_y, -from_y if to_y > from_y else from_y, target

            for place, track in enumerate(sorted(tracks, key=order)):
                found[track] = left + TRACK * (place + 1.5)
        return found


def _straight(source: Box, target: Box) -> list[Point]:
    """Return an arrow from a step down to the next."""
    return [
        (source.x + source.width / 2, source.bottom),
        (target.x + target.width / 2, target.y),
    ]
