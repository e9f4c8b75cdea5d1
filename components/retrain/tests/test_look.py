"""A whole look: real S3 and Parameter Store calls (moto), a pipeline that heeds tokens."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping

import boto3
import pytest
from botocore.exceptions import ClientError

from components.retrain.decide import Outcome, Wake
from components.retrain.handler import handle, read_wakes
from components.retrain.state import StateFile
from components.retrain.tests.labels import manifest_of
from components.retrain.tests.world import SETTINGS, World
from shared.component.annotation_manifest import Current, fingerprint, read_manifest
from shared.component.errors import InputError, StorageError


def test_a_set_without_its_marker_is_an_upload_in_progress(world: World) -> None:
    world.put("raw/scenes/train/a.jpg")
    world.put("raw/scenes/train/_SUCCESS")
    world.put("raw/scenes/_SUCCESS.part")
    assert world.look(Wake.RAW) is Outcome.NOTHING_NEW


def test_a_raw_set_starts_one_execution_however_often_it_is_told(trained: World) -> None:
    assert [trained.look(Wake.RAW) for _ in range(3)] == [Outcome.NOTHING_NEW] * 3
    (execution,) = trained.pipelines.executions
    assert execution["parameters"]["TrainDataset"] == "s3://data/raw/scenes"


def test_500_labels_are_one_execution(trained: World) -> None:
    trained.annotate(range(500))
    outcomes = [trained.look() for _ in range(20)]
    assert outcomes == [Outcome.START] + [Outcome.RUNNING] * 19
    trained.pipelines.end()
    assert trained.look() is Outcome.NOTHING_NEW
    assert len(trained.pipelines.executions) == 2
    manifest = trained.pipelines.executions[1]["parameters"]["Annotations"]
    assert re.fullmatch(r"s3://data/labels/[0-9a-f]{64}\.json", manifest)
    data = trained.clients.s3.get_object(Bucket="data", Key=manifest.removeprefix("s3://data/"))
    assert len(read_manifest(data["Body"].read(), manifest).labels) == 500


def test_a_second_sync_of_the_same_content_starts_nothing(trained: World) -> None:
    trained.annotate(range(20))
    trained.look()
    trained.pipelines.end()
    trained.annotate(range(20))
    assert trained.look() is Outcome.NOTHING_NEW


def test_corrections_start_the_next_run(trained: World) -> None:
    trained.annotate(range(20))
    trained.look()
    trained.pipelines.end()
    trained.annotate(range(10), text="corrected")
    assert trained.look() is Outcome.START


def test_what_comes_during_a_run_starts_the_next_by_a_tick_alone(trained: World) -> None:
    trained.annotate(range(20))
    trained.look()
    trained.annotate(range(20, 40))
    assert trained.look() is Outcome.RUNNING
    trained.pipelines.end()
    assert trained.look(Wake.TICK) is Outcome.START  # no poll frequency is waited for


def test_a_run_that_someone_else_started_is_waited_for(trained: World) -> None:
    trained.pipelines.executions.append(
        {"PipelineExecutionArn": "arn:by-hand", "PipelineExecutionStatus": "Executing"}
    )
    trained.annotate(range(20))
    assert trained.look() is Outcome.RUNNING


def test_a_run_that_is_not_listed_yet_is_waited_for(trained: World) -> None:
    trained.annotate(range(20))
    trained.look()
    trained.pipelines.lists_late = True
    trained.put("raw/more/_SUCCESS")
    assert trained.look(Wake.RAW) is Outcome.RUNNING
    assert len(trained.pipelines.executions) == 2


def test_lost_events_are_healed_by_a_tick(trained: World) -> None:
    trained.annotate(range(20))
    assert trained.look(Wake.TICK) is Outcome.NOT_DUE
    trained.now_s += 3600
    assert trained.look(Wake.TICK) is Outcome.START


def test_switched_off_and_on_again_nothing_is_lost(trained: World) -> None:
    trained.tune("Enable-Automatic-Training", "false")
    trained.annotate(range(35))
    assert trained.look() is Outcome.OFF
    trained.tune("Enable-Automatic-Training", "true")
    assert trained.look(Wake.TICK) is Outcome.START


@pytest.mark.parametrize("is_named", [True, False])
def test_a_crash_after_the_start_starts_no_second_run(trained: World, is_named: bool) -> None:
    trained.annotate(range(20))
    trained.pipelines.crash_after_start = True
    with pytest.raises(ConnectionError):
        trained.look()
    if is_named:  # then the name alone does, however long ago it was
        trained.pipelines.tokens.clear()
    else:  # the token alone
        del trained.pipelines.executions[-1]["PipelineExecutionDisplayName"]
    trained.annotate(range(20, 25))  # the data has changed since
    for _ in range(3):
        trained.look(Wake.TICK)
        trained.pipelines.end()
    assert len(trained.pipelines.executions) == 2
    trained.now_s += 3600
    assert trained.look(Wake.TICK) is Outcome.TOO_FEW  # the first 20 count as trained


@pytest.fixture
def interrupted(trained: World) -> World:
    """A world where a start was written down that SageMaker never heard of."""
    trained.annotate(range(20))
    trained.pipelines.refuses = True
    with pytest.raises(ConnectionError):
        trained.look()
    trained.pipelines.refuses = False
    return trained


def test_a_start_that_was_interrupted_is_made_by_the_next_tick(interrupted: World) -> None:
    assert interrupted.look(Wake.TICK) is Outcome.START
    assert len(interrupted.pipelines.executions) == 2


def test_a_start_that_was_interrupted_is_not_made_once_switched_off(interrupted: World) -> None:
    interrupted.tune("Enable-Automatic-Training", "false")
    assert interrupted.look() is Outcome.OFF
    assert len(interrupted.pipelines.executions) == 1


def test_a_start_that_was_interrupted_waits_for_a_run_in_progress(interrupted: World) -> None:
    interrupted.pipelines.executions.append(
        {"PipelineExecutionArn": "arn:by-hand", "PipelineExecutionStatus": "Executing"}
    )
    assert interrupted.look() is Outcome.RUNNING
    assert len(interrupted.pipelines.executions) == 2
    interrupted.pipelines.end()
    assert interrupted.look(Wake.TICK) is Outcome.START
    assert len(interrupted.pipelines.executions) == 3


def test_a_failed_run_leaves_its_labels_untrained(trained: World) -> None:
    trained.annotate(range(20))
    trained.look()
    trained.pipelines.end("Failed")
    assert trained.look() is Outcome.FAILED_BEFORE
    trained.annotate(range(20, 29))
    assert trained.look() is Outcome.FAILED_BEFORE
    trained.annotate(range(29, 30))
    assert trained.look() is Outcome.START


def test_data_that_was_trained_on_long_ago_gets_a_run_of_its_own(trained: World) -> None:
    """SageMaker answers a token that it has seen by the old run, which trains nothing."""
    for text in ("first", "second", "first", "second"):
        trained.annotate(range(20), text)
        assert trained.look() is Outcome.START
        trained.pipelines.end()
        trained.now_s += 3600
    assert len(trained.pipelines.executions) == 5


def test_a_state_that_was_deleted_trains_on_all_data_once_more(trained: World) -> None:
    trained.clients.s3.delete_object(Bucket="artifacts", Key="retrain/state.json")
    trained.now_s += 3600
    assert trained.look(Wake.TICK) is Outcome.START
    assert len(trained.pipelines.executions) == 2


def test_a_drift_alarm_during_a_run_trains_after_it(trained: World) -> None:
    trained.tune("Enable-Drift-Retraining", "true")
    trained.annotate(range(20))
    trained.look()
    trained.annotate(range(20, 23))
    assert trained.look(Wake.DRIFT) is Outcome.RUNNING
    assert trained.look(Wake.TICK) is Outcome.RUNNING
    trained.pipelines.end()
    assert trained.look(Wake.TICK) is Outcome.START  # three are less than the minimum
    trained.pipelines.end()
    trained.annotate(range(23, 26))
    assert trained.look() is Outcome.TOO_FEW  # one alarm, one run


def test_a_drift_alarm_that_waits_is_forgotten_when_operators_say_so(trained: World) -> None:
    trained.tune("Enable-Drift-Retraining", "true")
    trained.annotate(range(20))
    trained.look()
    trained.annotate(range(20, 23))
    trained.look(Wake.DRIFT)
    trained.tune("Enable-Drift-Retraining", "false")
    trained.pipelines.end()
    assert trained.look(Wake.TICK) is Outcome.TOO_FEW


def test_a_run_in_progress_is_waited_for_without_writing_the_state(trained: World) -> None:
    """Every version of it is kept for thirty days, and a run takes hours."""
    trained.annotate(range(20))
    trained.look()
    trained.look()
    versions = [trained.state_etag()]
    for _ in range(3):
        trained.now_s += 300
        assert trained.look(Wake.TICK) is Outcome.RUNNING
        versions.append(trained.state_etag())
    assert len(set(versions)) == 1


def test_labels_given_by_others_are_the_same_labels(trained: World) -> None:
    """Another person's vote for the same label makes another manifest and nothing to learn."""
    trained.annotate(range(20))
    trained.look()
    trained.pipelines.end()
    data = manifest_of(trained.labels, annotator="2").encode()
    current = Current(fingerprint(data), 20)
    trained.put(f"labels/{current.manifest}", data.decode())
    trained.put("labels/current.json", current.encode().decode())
    assert trained.look() is Outcome.NOTHING_NEW


def test_a_manifest_that_is_gone_is_an_error_with_its_remedy(trained: World) -> None:
    trained.put("labels/current.json", Current("0" * 64, 1).encode().decode())
    with pytest.raises(StorageError, match=r"0\.json is gone.*restore it, or remove"):
        trained.look()


@pytest.mark.parametrize("wake", [Wake.LABELS, Wake.RAW])
def test_a_pointer_that_is_gone_starts_no_run_without_labels(trained: World, wake: Wake) -> None:
    trained.annotate(range(20))
    trained.look()
    trained.pipelines.end()
    trained.look()
    runs = len(trained.pipelines.executions)
    trained.clients.s3.delete_object(Bucket="data", Key="labels/current.json")
    trained.put("raw/newer/_SUCCESS")
    with pytest.raises(StorageError, match=r"current\.json is gone.*components\.labeling merge"):
        trained.look(wake)
    assert len(trained.pipelines.executions) == runs


def test_a_damaged_pointer_is_an_error_that_names_it(trained: World) -> None:
    trained.put("labels/current.json", "{}")
    with pytest.raises(InputError, match=r"s3://data/labels/current\.json is damaged"):
        trained.look()


def test_a_dry_look_changes_nothing(trained: World) -> None:
    trained.annotate(range(20))
    assert trained.look(is_dry=True) is Outcome.START
    assert len(trained.pipelines.executions) == 1
    assert trained.look() is Outcome.START


def test_two_at_once_start_one_run(trained: World) -> None:
    trained.annotate(range(20))
    slow = StateFile(trained.clients.s3, "artifacts")
    state = slow.read()
    assert trained.look() is Outcome.START
    with pytest.raises(StorageError, match="changed by another"):
        slow.write(state)


def test_two_first_looks_at_once_start_one_run(world: World) -> None:
    world.put("raw/scenes/_SUCCESS")
    slow = StateFile(world.clients.s3, "artifacts")
    state = slow.read()
    assert world.look(Wake.RAW) is Outcome.START
    with pytest.raises(StorageError, match="changed by another"):
        slow.write(state)


def test_a_damaged_state_is_an_error_with_its_remedy(trained: World) -> None:
    trained.clients.s3.put_object(Bucket="artifacts", Key="retrain/state.json", Body=b"{")
    with pytest.raises(StorageError, match="restore an earlier version"):
        trained.look()


def test_a_manifest_is_read_once(trained: World) -> None:
    trained.annotate(range(12))
    read = trained.reads()
    trained.look()
    trained.pipelines.end()
    trained.look()
    trained.put("raw/more/_SUCCESS")
    assert trained.look(Wake.RAW) is Outcome.START
    assert len(read) == 1
    trained.pipelines.end()
    trained.annotate(range(12, 13))
    assert trained.look() is Outcome.TOO_FEW
    assert len(read) == 2


def test_messages_say_only_that_it_is_time(caplog: pytest.LogCaptureFixture) -> None:
    def wakes(*bodies: str) -> set[Wake]:
        return read_wakes({"Records": [{"body": body, "else": 1} for body in bodies]})

    assert wakes('{"wake": "raw", "more": 1}', '{"wake": "tick"}') == {Wake.RAW, Wake.TICK}
    for odd in ('{"wake": "delete all"}', "no JSON", "[]", "{}"):
        assert wakes(odd) == {Wake.LABELS}
    assert "nothing of ours" in caplog.text


def test_the_function_reads_its_settings_and_answers_the_queue(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PIPELINE": SETTINGS.pipeline,
        "DATA_BUCKET": "data",
        "ARTIFACTS_BUCKET": "artifacts",
        "OPERATOR_PATH": SETTINGS.operator_path,
    }.items():
        monkeypatch.setenv(f"VISIONLOOP_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    sagemaker = boto3.client("sagemaker", "us-east-1")
    sagemaker.create_pipeline(
        PipelineName=SETTINGS.pipeline,
        PipelineDefinition="{}",
        ClientRequestToken="t" * 32,
        RoleArn="arn:aws:iam::123456789012:role/visionloop-dev-pipeline",
    )
    world.put("raw/scenes/_SUCCESS")
    event = {"Records": [{"body": json.dumps({"wake": "raw"})}]}
    assert handle(event, io.StringIO()) == {"batchItemFailures": []}
    (summary,) = sagemaker.list_pipeline_executions(PipelineName=SETTINGS.pipeline)[
        "PipelineExecutionSummaries"
    ]
    parameters: Mapping[str, str] = {
        p["Name"]: p["Value"]
        for p in sagemaker.list_pipeline_parameters_for_execution(
            PipelineExecutionArn=summary["PipelineExecutionArn"]
        )["PipelineParameters"]
    }
    assert parameters == {"TrainDataset": "s3://data/raw/scenes", "MinMacroF1": "0.8"}


@pytest.mark.parametrize(
    "said",
    [
        {"Code": "ResourceNotFound", "Message": "Pipeline visionloop-dev does not exist."},
        {"Code": "ValidationException", "Message": "Could not find pipeline with PipelineName x."},
    ],
)
def test_before_there_is_a_pipeline_data_waits_for_it(world: World, said: dict[str, str]) -> None:
    world.put("raw/scenes/_SUCCESS")
    world.pipelines.refusal = ClientError({"Error": said}, "ListPipelineExecutions")
    assert world.look(Wake.RAW) is Outcome.NO_PIPELINE
    world.pipelines.refusal = None
    assert world.look(Wake.TICK) is Outcome.START


def test_a_listing_that_is_refused_is_no_missing_pipeline(world: World) -> None:
    denied = {"Code": "AccessDeniedException", "Message": "not authorized"}
    world.pipelines.refusal = ClientError({"Error": denied}, "ListPipelineExecutions")
    with pytest.raises(ClientError, match="not authorized"):
        world.look(Wake.RAW)
