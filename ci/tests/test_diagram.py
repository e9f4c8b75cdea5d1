"""The picture says what templates and pipeline say, is fresh, and can be looked at."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import pipeline
from ci.diagram import check_diagram, main
from ci.diagram.graph import ENDPOINT, IMAGES, OPERATORS, PIPELINE, PREDICT, Graph, Node, Reader
from ci.diagram.layout import Box, arrange
from ci.diagram.steps import add_steps, register_by_step
from ci.diagram.svg import draw
from ci.problems import REPOSITORY
from ci.templates import load_templates, walk
from shared.pipeline.compiler import document
from shared.pipeline.settings import Settings

TEMPLATES = load_templates(REPOSITORY)


def _graph(templates: dict[str, Any] = TEMPLATES) -> Graph:
    reader = Reader(templates)
    settings = Settings()
    add_steps(reader.graph, document(pipeline.build(settings), settings), "visionloop-dev")
    graph = reader.read()
    register_by_step(graph)
    return graph


@pytest.fixture(scope="module")
def graph() -> Graph:
    return _graph()


def _leads(graph: Graph, *places: str) -> bool:
    """Tell whether arrows lead from place to place, one after the other."""
    return all(pair in graph.edges for pair in itertools.pairwise(places))


def test_the_picture_is_what_templates_and_pipeline_give_today() -> None:
    assert list(check_diagram(REPOSITORY)) == []


def test_an_upload_leads_to_the_pipeline(graph: Graph) -> None:
    last = ("triggers.Queue", "triggers.Function", PIPELINE, "pipeline.FetchData")
    assert _leads(graph, "foundation.Data", "triggers.RawData", *last)
    assert _leads(graph, "foundation.Data", "triggers.Labels", *last)
    assert _leads(graph, "triggers.Tick", *last)


def test_an_approval_leads_to_what_serves(graph: Graph) -> None:
    assert _leads(graph, "pipeline.RegisterModel", "registry.Models", "deploy.Approvals")
    assert _leads(graph, "deploy.Approvals", "deploy.Queue", "deploy.Function", "deploy.Machine")
    assert _leads(graph, "deploy.Machine", "deploy.Function", ENDPOINT)
    assert _leads(graph, OPERATORS, "deploy.Units", "deploy.Function", PREDICT)


def test_drift_and_commits_lead_back_to_the_pipeline(graph: Graph) -> None:
    assert _leads(graph, ENDPOINT, "observe.alarms", "observe.DriftRings", "triggers.Queue")
    assert _leads(graph, "outside.code", "ci.Release", "triggers.Queue")
    assert _leads(graph, "triggers.Function", PIPELINE, "observe.PipelineFailed")
    assert _leads(graph, "ci.Release", IMAGES)
    assert "tells notices" in graph.nodes["observe.alarms"].notes


def test_steps_wait_for_the_nearest_only(graph: Graph) -> None:
    steps = {e for e in graph.edges if all(end.startswith("pipeline.") for end in e)}
    assert ("pipeline.Train", "pipeline.Evaluate") in steps
    assert ("pipeline.GatesPassed", "pipeline.Register") in steps
    assert ("pipeline.Preprocess", "pipeline.Evaluate") not in steps  # by way of Train
    assert ("pipeline.Evaluate", "pipeline.Register") not in steps  # by way of the gates


def test_what_a_role_may_no_longer_do_is_no_longer_drawn() -> None:
    templates = copy.deepcopy(TEMPLATES)
    for each in walk(templates["triggers"]):
        actions = each.get("Action")
        if isinstance(actions, list) and "sagemaker:StartPipelineExecution" in actions:
            actions.remove("sagemaker:StartPipelineExecution")
    assert ("triggers.Function", PIPELINE) not in _graph(templates).edges


def test_a_rule_without_its_target_is_a_dead_end() -> None:
    templates = copy.deepcopy(TEMPLATES)
    templates["triggers"]["Resources"]["RawData"]["Properties"]["Targets"] = []
    edges = _graph(templates).edges
    assert ("triggers.RawData", "triggers.Queue") not in edges
    assert ("foundation.Data", "triggers.RawData") in edges


def test_a_stack_that_nobody_has_placed_yet_is_drawn_too() -> None:
    function = {
        "Type": "AWS::Lambda::Function",
        "Properties": {"FunctionName": "visionloop-dev-web"},
    }
    graph = _graph({**TEMPLATES, "web": {"Resources": {"Page": function}}})
    assert graph.nodes["web.Page"].title == "web"
    picture = arrange(graph)
    assert picture.groups["web"].x > picture.groups["observe"].right


def _overlap(one: Box, other: Box) -> bool:
    beside = one.right <= other.x or other.right <= one.x
    return not (beside or one.bottom <= other.y or other.bottom <= one.y)


def test_no_box_lies_on_another_and_each_in_its_group(graph: Graph) -> None:
    picture = arrange(graph)
    assert set(picture.boxes) == set(graph.nodes)
    for one, other in itertools.combinations(picture.boxes.values(), 2):
        assert not _overlap(one, other)
    for one, other in itertools.combinations(picture.groups.values(), 2):
        assert not _overlap(one, other)
    for name, box in picture.boxes.items():
        group = picture.groups[graph.nodes[name].group]
        assert group.x < box.x
        assert box.right < group.right
        assert group.y < box.y
        assert box.bottom < group.bottom


def _touches(point: tuple[float, float], box: Box) -> bool:
    x, y = point
    on_side = x in (box.x, box.right) and box.y <= y <= box.bottom
    return on_side or (y in (box.y, box.bottom) and box.x <= x <= box.right)


def test_every_arrow_goes_from_its_box_to_its_box_within_the_picture(graph: Graph) -> None:
    picture = arrange(graph)
    assert len(picture.paths) == len(graph.edges)
    for (source, target), path in zip(graph.edges, picture.paths, strict=True):
        assert _touches(path[0], picture.boxes[source])
        assert _touches(path[-1], picture.boxes[target])
        assert all(0 < x < picture.width and 0 < y < picture.height for x, y in path)


def test_no_two_arrows_run_on_the_same_track(graph: Graph) -> None:
    """Each upright piece has an x of its own, but for arrows straight down from step to step."""
    picture = arrange(graph)
    tracks = [
        start[0]
        for path in picture.paths
        if len(path) > 2
        for start, end in itertools.pairwise(path)
        if start[0] == end[0]
    ]
    assert len(tracks) == len(set(tracks))


def test_the_svg_is_xml_names_everything_and_is_the_same_every_time(graph: Graph) -> None:
    text = draw(graph)
    assert text == draw(_graph())
    root = ElementTree.fromstring(text)  # noqa: S314 - our own
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for node in graph.nodes.values():
        assert node.title in words


def test_what_a_name_holds_cannot_break_the_picture() -> None:
    graph = Graph()
    graph.add(Node("a.b", "<&>", 'a "kind"', "a", ("a note that is far too long to fit in a box",)))
    words = [e.text for e in ElementTree.fromstring(draw(graph)).iter()]  # noqa: S314 - our own
    assert "<&>" in words
    assert "a note that is far too long to fit …" in words


def test_a_stale_picture_is_found_and_drawn_anew(tmp_path: Path, capsys: Any) -> None:
    for name in ("components", "shared", "containers"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci/stacks").symlink_to(REPOSITORY / "ci/stacks")
    assert main(["--check"], root=tmp_path) == 1
    assert "python -m ci diagram" in capsys.readouterr().out
    assert main([], root=tmp_path) == 0
    assert main(["--check"], root=tmp_path) == 0
    (tmp_path / "ci/architecture.svg").write_text("<svg/>")
    assert main(["--check"], root=tmp_path) == 1
