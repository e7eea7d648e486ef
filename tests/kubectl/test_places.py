"""Places in the queue."""

from stemyard_kubectl.places import places, waiting
from tests.kubectl.resources import separation


def test_priority_goes_first_then_age_in_each_namespace() -> None:
    found = [
        separation("young", "Queued", age=1),
        separation("old", "Queued", age=9),
        separation("urgent", "Queued", age=2, spec={"priority": 5}),
        separation("elsewhere", "Queued", namespace="other"),
        separation("to-fetch", "Pending", age=20),
        separation("unread", age=3),
        separation("at-work", "Separating"),
        separation("done", "Completed"),
    ]
    names = [one.name for one in waiting(found)]
    assert names == ["urgent", "old", "young", "to-fetch", "unread", "elsewhere"]
    assert places(found) == {
        ("music", "urgent"): 1,
        ("music", "old"): 2,
        ("music", "young"): 3,
        ("music", "to-fetch"): 1,
        ("music", "unread"): 2,
        ("other", "elsewhere"): 1,
    }


def test_a_requested_run_that_no_operator_has_read_waits() -> None:
    again = separation("again", "Failed", spec={"run": 2})
    assert again.waits
    assert again.phase is None
