"""Processes that are killed, stopped or told to end: who is answered, who is left."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from ci.tests.live import (
    Answer,
    Live,
    assert_all_gone,
    assert_error,
    assert_no_innards,
    serving,
    wait_until,
)
from components.inference.slices import SHORT_NS
from components.inference.tests.scheduling import needs_slices, slice_ns
from shared.vision.tests.factories import colour_image

pytestmark = pytest.mark.faults

COLOURS = ("red", "green", "blue")


class Crowd:
    """Clients that ask without a pause, each checking that its answer is its own."""

    def __init__(self, live: Live, clients: int = 6) -> None:
        self.live = live
        self.counts: Counter[str] = Counter()
        self.wrong: list[Answer] = []
        self._is_over = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self._clients = [self._pool.submit(self._ask, n) for n in range(clients)]

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for client in self._clients:
            client.result()
        self._pool.shutdown()

    @property
    def answered(self) -> int:
        return self.counts["200"]

    def wait_for(self, answers: int) -> None:
        """Wait until so many more requests are answered."""
        enough = self.answered + answers
        wait_until(lambda: self.answered >= enough)

    def _ask(self, number: int) -> None:
        while not self._is_over.is_set():
            number += 1
            colour = COLOURS[number % 3]
            try:
                answer = self.live.ask(colour_image(colour, number % 50), timeout_s=20)
            except OSError as err:
                self.counts[type(err).__name__] += 1
                time.sleep(0.02)
                continue
            self.counts[str(answer.status)] += 1
            if answer.status == 200 and answer.label != colour:
                self.wrong.append(answer)
            if answer.status != 200:
                assert_no_innards(answer)


def assert_serves(live: Live) -> None:
    for colour in COLOURS:
        assert live.ask(colour_image(colour, 3)).label == colour


def test_who_passes_messages_need_not_wait_for_a_forward_pass_to_end(server: Live) -> None:
    needs_slices()
    usual = slice_ns(0)
    assert slice_ns(server.process.pid) == slice_ns(server.java().pid) == SHORT_NS < usual
    assert {slice_ns(process.pid) for process in server.workers()} == {usual}
    assert slice_ns(server.collector().pid) == usual


def test_each_worker_has_a_core_of_its_own_and_whoever_replaces_it(
    bundle: Path, place: Path
) -> None:
    cores = sorted(os.sched_getaffinity(0))
    with serving(bundle, place, "--workers", str(len(cores))) as live:
        for _ in range(2):
            wait_until(lambda: [[core] for core in cores] == _affinities(live))
            live.workers()[0].kill()
        assert live.java().cpu_affinity() == cores
        wait_until(lambda: len(live.workers()) == len(cores))
        assert_serves(live)
    with serving(bundle, place, "--workers", "1") as live:
        assert _affinities(live) == ([cores] if len(cores) > 1 else [[cores[0]]])


def _affinities(live: Live) -> list[list[int]]:
    try:
        return sorted(worker.cpu_affinity() for worker in live.workers())
    except psutil.NoSuchProcess:  # one has gone meanwhile
        return []


def test_a_killed_worker_costs_what_it_was_at_and_is_replaced(bundle: Path, place: Path) -> None:
    with serving(bundle, place) as live, Crowd(live) as crowd:
        for _ in range(3):
            wait_until(lambda: len(live.workers()) == 2)
            live.workers()[0].kill()
            assert live.ping() == 200  # the other one answers
            crowd.wait_for(100)
        wait_until(lambda: len(live.workers()) == 2)
        assert crowd.wrong == []
        assert set(crowd.counts) <= {"200", "500"}
        assert crowd.counts["500"] <= 3 * 8  # a batch each time
        assert_serves(live)


def test_both_workers_killed_are_back_in_seconds(
    bundle: Path, place: Path, program: Sequence[str]
) -> None:
    with serving(bundle, place, program=program) as live:
        for worker in live.workers():
            worker.kill()
        took = wait_until(lambda: live.ask(timeout_s=20).status == 200, 20)
        print(f"both workers killed: answers again after {took:.2f} s")  # noqa: T201
        assert live.ping() == 200
        assert_serves(live)
        wait_until(lambda: len(live.workers()) == 2)


def test_ping_is_503_as_long_as_no_worker_can_be_had(bundle: Path, place: Path) -> None:
    with serving(bundle, place, "--timeout-s", "1") as live:
        workers = live.workers()
        loader = live.loader()
        loader.suspend()  # it forks the workers
        for worker in workers:
            worker.kill()
        wait_until(lambda: live.ping() == 503, 10)
        answer = live.ask(timeout_s=20)
        assert answer.status in (500, 503)
        assert_error(answer, answer.status, answer.json["error"])
        assert live.ping() == 503
        loader.resume()
        took = wait_until(lambda: live.ping() == 200, 20)
        print(f"workers can be had again: ping says so after {took:.2f} s")  # noqa: T201
        assert_serves(live)


def test_a_worker_that_hangs_is_given_up_replaced_and_ended(bundle: Path, place: Path) -> None:
    with serving(bundle, place, "--timeout-s", "1") as live:
        hung = live.workers()
        for worker in hung:
            worker.suspend()
        answer = live.ask(timeout_s=10)
        assert_error(answer, answer.status, answer.json["error"])
        assert answer.status in (500, 503)
        wait_until(lambda: live.ask(timeout_s=10).status == 200)  # it meets the other one, too
        assert_serves(live)
        for worker in hung:
            worker.resume()
        assert_all_gone(hung)


def test_a_model_server_that_hangs_is_no_healthy_one(bundle: Path, place: Path) -> None:
    with serving(bundle, place, "--timeout-s", "1") as live:
        live.java().suspend()
        wait_until(lambda: live.ping() == 503, 5)
        started = time.monotonic()
        assert live.ping() == 503
        assert time.monotonic() - started < 2  # SageMaker's patience
        assert_error(live.ask(timeout_s=10), 503, "Unavailable")
        live.java().resume()
        wait_until(lambda: live.ping() == 200)
        assert_serves(live)


def test_with_java_killed_everything_ends_with_status_1(bundle: Path, place: Path) -> None:
    with serving(bundle, place) as live:
        family = live.family()
        live.java().kill()
        assert live.process.wait(10) == 1
        assert "error: inference: multi-model-server died" in live.said()
        assert "Traceback" not in live.said()
        assert_all_gone(family)
        assert live.ping() == 0
        assert live.runs() == []


def test_with_the_loader_killed_everything_ends_with_status_1(
    bundle: Path, place: Path, program: Sequence[str]
) -> None:
    with serving(bundle, place, program=program) as live:
        family = live.family()
        live.loader().kill()
        assert live.process.wait(10) == 1
        assert "error: inference: the process that forks the workers died" in live.said()
        assert "Traceback" not in live.said()
        assert_all_gone(family)


def test_a_killed_loader_takes_its_workers_along(
    bundle: Path, place: Path, program: Sequence[str]
) -> None:
    with serving(bundle, place, program=program) as live:
        workers, loader = live.workers(), live.loader()
        for one in (live.process, live.java()):
            one.send_signal(signal.SIGSTOP)  # neither can help
        try:
            loader.kill()
            assert_all_gone(workers)
        finally:
            live.process.send_signal(signal.SIGCONT)


def test_a_killed_supervisor_leaves_no_process(
    bundle: Path, place: Path, program: Sequence[str]
) -> None:
    with serving(bundle, place, program=program) as live:
        family = live.family()
        assert len(family) == 6  # itself, Java, the loader, two workers, the collector
        live.end(signal.SIGKILL)
        assert_all_gone(family)
        assert live.ping() == 0


@pytest.mark.parametrize("wait_s", [0.0, 0.6, 1.2])
def test_a_supervisor_killed_while_starting_leaves_no_process(
    bundle: Path, place: Path, program: Sequence[str], wait_s: float
) -> None:
    with serving(bundle, place, program=program, is_ready=False) as live:
        if wait_s:
            wait_until(lambda: len(live.family()) > 2)
            threading.Event().wait(wait_s)  # anywhere in between
        family = live.family()
        live.end(signal.SIGKILL)
        assert_all_gone(family)


@pytest.mark.parametrize("wait_s", [0.0, 0.7])
def test_told_to_end_while_starting_it_ends(bundle: Path, place: Path, wait_s: float) -> None:
    with serving(bundle, place, is_ready=False) as live:
        wait_until(lambda: bool(live.runs()))
        threading.Event().wait(wait_s)
        family = live.family()
        assert live.end() in (0, 143)  # 143: before there was anything to end
        assert_all_gone(family)
        assert live.runs() == []
        assert "Traceback" not in live.said()


def test_told_to_end_under_load_it_answers_all_that_was_sent(bundle: Path, place: Path) -> None:
    with serving(bundle, place) as live, Crowd(live, clients=16) as crowd:
        family = live.family()
        crowd.wait_for(100)
        started = time.monotonic()
        assert live.end() == 0
        print(f"SIGTERM under load: ended after {time.monotonic() - started:.2f} s")  # noqa: T201
        assert_all_gone(family)
        assert live.runs() == []
        # Refused connections came after the end; a reset one was not answered.
        assert set(crowd.counts) <= {"200", "ConnectionRefusedError"}, crowd.counts
        assert crowd.wrong == []


def test_what_is_in_flight_at_the_end_is_answered(bundle: Path, place: Path) -> None:
    with serving(bundle, place) as live, ThreadPoolExecutor(32) as pool:
        body = json.dumps({"instances": [{"b64": ""}]}).encode()
        assert live.ask(body, "application/json").status == 422
        images = [colour_image(COLOURS[n % 3], n, side=300) for n in range(32)]
        asked = [pool.submit(live.ask, image) for image in images]
        wait_until(lambda: any(answer.done() for answer in asked))
        status = live.end()
        done = [answer for answer in asked if answer.exception() is None]
        assert status == 0
        assert len(done) > 16
        for number, answer in enumerate(asked):
            if answer in done:
                assert answer.result().label == COLOURS[number % 3]
            else:
                assert isinstance(answer.exception(), ConnectionRefusedError)


def test_a_killed_collector_is_replaced_and_its_window_survives(bundle: Path, place: Path) -> None:
    flags = ("--metrics-interval-s", "0.5", "--drift-interval-s", "1000000")
    with serving(bundle, place, *flags) as live:
        rows = next(iter(live.runs())) / "state" / "drift-rows.npz"
        for _ in range(15):  # a window has 20
            assert live.ask().status == 200
        wait_until(rows.exists)
        old = live.collector()
        old.kill()
        with Crowd(live, clients=2) as crowd:
            took = wait_until(lambda: _has_new(live, old))
            # A drift test runs when nobody else wants the processor.
            wait_until(lambda: "drift: is_drift=" in live.said(), seconds=150)
        print(f"collector killed: another after {took:.2f} s")  # noqa: T201
        assert set(crowd.counts) == {"200"}
        (line,) = [line for line in live.said().splitlines() if "drift: is_drift=" in line]
        assert int(line.split("seen=")[1].split()[0]) >= 20
        assert "unusable" not in live.said()


def _has_new(live: Live, old: psutil.Process) -> bool:
    found = [p for p in live.family() if p.pid != old.pid and _is_collector(p)]
    return bool(found)


def _is_collector(process: psutil.Process) -> bool:
    try:
        return "components.inference.collector" in process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def test_nobody_reads_stdout_and_serving_goes_on(bundle: Path, place: Path) -> None:
    reader, writer = os.pipe()
    flags = ("--metrics-interval-s", "0.1")
    try:
        with serving(bundle, place, *flags, stdout=writer) as live:
            os.close(reader)
            parts = place / "sink" / "metrics"
            for _ in range(3):
                assert_serves(live)
            wait_until(lambda: any(b"MetricLinesLost" in p.read_bytes() for p in parts.iterdir()))
            assert live.end() == 0
            assert "Traceback" not in live.said()
    finally:
        os.close(writer)


def test_a_log_folder_that_cannot_be_written_costs_the_log_alone(bundle: Path, place: Path) -> None:
    (place / "file").write_bytes(b"")
    flags = ("--sink", str(place / "file" / "below"), "--metrics-interval-s", "0.2")
    with serving(bundle, place, *flags) as live:
        with Crowd(live, clients=2) as crowd:
            crowd.wait_for(100)
        assert set(crowd.counts) == {"200"}
        assert crowd.wrong == []
        wait_until(lambda: b"MetricLinesLost" in (place / "out").read_bytes())
        assert live.end() == 0
        assert "Traceback" not in live.said()


def test_a_full_disk_costs_the_log_alone(bundle: Path, place: Path) -> None:
    """RLIMIT_FSIZE stands for the disk: no file may grow beyond 4 kB."""
    import resource

    with serving(bundle, place, "--metrics-interval-s", "0.2", "--log-share", "1") as live:
        for process in live.family()[1:]:
            psutil.Process(process.pid).rlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        with Crowd(live, clients=2) as crowd:
            crowd.wait_for(100)
        assert set(crowd.counts) == {"200"}
        assert crowd.wrong == []
        assert live.collector().is_running()
        assert live.end() == 0


def test_few_open_files_allowed_are_made_enough(bundle: Path, place: Path) -> None:
    import resource

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, 4096))

    with serving(bundle, place, preexec_fn=few) as live:
        connections = [live.connect() for _ in range(1000)]
        try:
            assert_serves(live)
            assert live.ping() == 200
        finally:
            for connection in connections:
                connection.close()
