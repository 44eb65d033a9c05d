"""Calls into other languages that Ctrl-C ends, however long they would take.

While the main thread is inside such a call, the interpreter cannot raise `KeyboardInterrupt` in it.
"""

from collections.abc import Callable
from threading import Event, Thread, current_thread, main_thread
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def interruptibly(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a call beside the main thread, which can leave it; in other threads just make it.

    A call that was left goes on until it or the process ends, and nobody hears of its outcome.
    """
    if current_thread() is not main_thread():
        return call(*args, **kwargs)
    done, results, errors = Event(), list[T](), list[BaseException]()

    def run() -> None:
        try:
            results.append(call(*args, **kwargs))
        except BaseException as error:  # raised again below
            errors.append(error)
        finally:
            done.set()

    Thread(target=run, daemon=True).start()
    done.wait()
    if errors:
        raise errors[0]
    return results[0]
