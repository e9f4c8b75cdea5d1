"""The pipeline's steps, as boxes of one more place: read from the definition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ci.diagram.graph import PIPELINE, Graph, Node
from ci.templates import Json, walk

GROUP = "pipeline"


def add_steps(graph: Graph, definition: Json, name: str) -> None:
    """Add the steps and which waits for which."""
    graph.add(Node(PIPELINE, name, "SageMaker pipeline", GROUP))
    needs: dict[str, set[str]] = {}
    for step, after in _steps(definition["Steps"]):
        graph.add(Node(_id(step["Name"]), step["Name"], step["Type"].lower(), GROUP))
        # A condition holds its branches: what these wait for, it does not.
        own = {k: v for k, v in step["Arguments"].items() if not k.endswith("Steps")}
        needs[step["Name"]] = _references(own) | after
    for step_name, waits in needs.items():
        for before in sorted(_nearest(waits, needs)):
            graph.link(_id(before), _id(step_name))
        if not waits:
            graph.link(PIPELINE, _id(step_name))


def register_by_step(graph: Graph) -> None:
    """Let the step that registers reach what the pipeline's role may: it is who does it."""
    steps = [node.id for node in graph.nodes.values() if node.kind == "registermodel"]
    reached = [edge for edge in graph.edges if edge[0] == PIPELINE and "registry." in edge[1]]
    for edge in reached if steps else ():
        del graph.edges[edge]
        for step in steps:
            graph.link(step, edge[1])


def _id(step: str) -> str:
    return f"{GROUP}.{step}"


def _steps(
    steps: Sequence[Json], after: frozenset[str] = frozenset()
) -> Iterator[tuple[Json, frozenset[str]]]:
    """Yield each step with what it comes after besides its inputs: its condition."""
    for step in steps:
        yield step, after
        if step["Type"] == "Condition":
            for branch in ("IfSteps", "ElseSteps"):
                yield from _steps(step["Arguments"][branch], frozenset({step["Name"]}))


def _references(arguments: Json) -> set[str]:
    gets = (each["Get"] for each in walk(arguments) if isinstance(each.get("Get"), str))
    return {get.split(".")[1] for get in gets if get.startswith("Steps.")}


def _nearest(waits: set[str], needs: dict[str, set[str]]) -> set[str]:
    """Return what is waited for directly: not what one of the others waits for anyway."""
    return waits - {far for near in waits for far in _all_before(near, needs)}


def _all_before(step: str, needs: dict[str, set[str]]) -> set[str]:
    direct = needs.get(step, set())
    return direct.union(*(_all_before(each, needs) for each in direct))
