"""Many jobs at once: results in order, and nothing begun after an error."""

from threading import Event

import pytest

from manifestgen.stores.parallel import all_of


def test_results_are_in_the_order_of_the_jobs() -> None:
    second = Event()

    def work(job: int) -> int:
        if job == 1:
            assert second.wait(60)
        else:
            second.set()
        return job * 10

    assert all_of(work, [1, 2, 3], threads=2) == [10, 20, 30]


@pytest.mark.parametrize("threads", [1, 8])
def test_no_thread_begins_another_job_after_its_own_error(threads: int) -> None:
    begun = list[int]()

    def work(job: int) -> None:
        begun.append(job)
        raise ValueError(job)

    with pytest.raises(ValueError, match=r"^\d$"):
        all_of(work, range(1000), threads=threads)
    assert 1 <= len(begun) <= threads


def test_the_error_of_a_later_job_is_the_one_that_is_raised() -> None:
    begun = list[int]()

    def work(job: int) -> None:
        begun.append(job)
        if job == 3:
            raise ValueError(job)

    with pytest.raises(ValueError, match="3"):
        all_of(work, range(1000), threads=1)
    assert begun == [0, 1, 2, 3]
