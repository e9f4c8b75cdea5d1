"""Workers keep the right images, whole, and never fail over it."""

from __future__ import annotations

import hashlib
import itertools

from components.inference.keeper import Keeper, Kept
from components.inference.review_rules import ReviewRules
from shared.component.review_queue import IMAGE_NAME


def rules(**given):
    return lambda: ReviewRules(**given)


def test_an_unsure_image_is_kept_whole_under_its_hash(tmp_path):
    kept = Keeper(tmp_path, rules(sampling_interval=0)).consider(b"pixels", "jpg", 0.699)
    sha256 = hashlib.sha256(b"pixels").hexdigest()
    assert kept == Kept(f"{sha256}.jpg", sha256, ("low_confidence",))
    assert (tmp_path / kept.kept).read_bytes() == b"pixels"
    assert IMAGE_NAME.fullmatch(kept.kept)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_sure_image_is_not_kept(tmp_path):
    assert Keeper(tmp_path, rules(sampling_interval=0)).consider(b"pixels", "jpg", 0.70) == Kept()
    assert list(tmp_path.iterdir()) == []


def test_every_nth_is_kept_from_a_random_start(tmp_path):
    starts = set()
    for _ in range(30):
        keeper = Keeper(tmp_path, rules(sampling_interval=10), per_day=100_000)
        reasons = [keeper.consider(b"p", "png", 1.0).reasons for _ in range(100)]
        kept = [n for n, why in enumerate(reasons) if why == ("sampled",)]
        assert len(kept) == 10
        assert {b - a for a, b in itertools.pairwise(kept)} == {10}
        starts.add(kept[0])
    assert len(starts) > 3


def test_both_reasons_are_given(tmp_path):
    assert Keeper(tmp_path, rules(sampling_interval=1)).consider(b"p", "png", 0.1).reasons == (
        "low_confidence",
        "sampled",
    )


def test_a_quiet_worker_keeps_a_burst_and_a_busy_one_what_a_tenth_of_the_day_would_use_up(tmp_path):
    now = [30.0]
    keeper = Keeper(tmp_path, rules(sampling_interval=0), per_day=1440, clock=lambda: now[0])

    def kept() -> int:
        found = [keeper.consider(bytes([n]), "jpg", 0.1) for n in range(100)]
        assert {one for one in found if not one.kept} == {Kept()}
        return sum(bool(one.kept) for one in found)

    assert kept() == 60
    assert kept() == 0
    now[0] += 60.5
    assert kept() == 10
    now[0] += 30
    assert kept() == 5
    now[0] += 86400
    assert kept() == 60


def test_of_a_small_number_a_day_no_burst_is_larger(tmp_path):
    keeper = Keeper(tmp_path, rules(sampling_interval=0), per_day=3, clock=lambda: 1.0)
    assert [bool(keeper.consider(b"p", "jpg", 0.1).kept) for _ in range(5)] == [1, 1, 1, 0, 0]


def test_unsure_images_do_not_push_out_the_audit(tmp_path):
    keeper = Keeper(tmp_path, rules(sampling_interval=10), per_day=5, clock=lambda: 1.0)
    kept = [keeper.consider(bytes([n]), "jpg", 0.1).reasons for n in range(50)]
    assert sum("sampled" in reasons for reasons in kept) == 5
    assert sum(reasons == ("low_confidence",) for reasons in kept) == 5


def test_an_image_that_cannot_be_written_has_reasons_and_no_name(tmp_path):
    spool = tmp_path / "spool"
    spool.write_text("a file where the folder should be")
    kept = Keeper(spool, rules(sampling_interval=0)).consider(b"pixels", "jpg", 0.1)
    assert kept.kept == ""
    assert kept.reasons == ("low_confidence",)


def test_operators_change_the_rules_while_it_works(tmp_path):
    in_force = [ReviewRules(sampling_interval=0)]
    keeper = Keeper(tmp_path, lambda: in_force[0])
    assert keeper.consider(b"p", "png", 0.75) == Kept()
    in_force[0] = ReviewRules(min_confidence=80.0, sampling_interval=0)
    assert keeper.consider(b"p", "png", 0.75).reasons == ("low_confidence",)
    in_force[0] = ReviewRules(min_confidence=80.0, sampling_interval=1, is_on=False)
    assert keeper.consider(b"p", "png", 0.75) == Kept()
    in_force[0] = ReviewRules(min_confidence=0.0, sampling_interval=1)
    assert keeper.consider(b"p", "png", 0.75).reasons == ("sampled",)


def test_audit_samples_keep_their_distance_in_time(tmp_path):
    now = [0.0]
    every = rules(sampling_interval=1, sampling_pause_s=600.0)
    keeper = Keeper(tmp_path, every, clock=lambda: now[0])
    sampled = []
    for second in range(0, 1900, 100):
        now[0] = float(second)
        if keeper.consider(b"p", "png", 1.0).reasons:
            sampled.append(second)
    assert sampled == [0, 600, 1200, 1800]
