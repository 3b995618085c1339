"""An end in one line for Ctrl-C and SIGTERM, whatever a launcher is doing.

`listen` is to be called before all that takes time, and before JAX is imported. The
main thread gets an exception, so that what is open is closed; a second thread ends the
process where that does not come through, as in compiled code.
"""

import _thread
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

STATUS: dict[int, int] = {signal.SIGINT: 130, signal.SIGTERM: 143}
_GRACE = 4.0  # seconds to close files in
stopped: list[int] = []  # the signal, once it has come
ended: list[bool] = []  # whether `main` has
advice = ["run the same command again to resume"]
errors = [2]  # the file descriptor of stderr
then: list[Callable[[], object]] = []  # what is to be done once the line is said


def _say(number: int) -> None:
    """The line, once, and then nothing of what else an exception may cause."""
    if not stopped:
        stopped.append(number)
        start = "\n" if os.isatty(errors[0]) else ""  # after ^C, or a bar of progress
        os.write(errors[0], f"{start}interrupted; {advice[0]}\n".encode())
        os.dup2(os.open(os.devnull, os.O_WRONLY), errors[0])
        for act in then:
            act()


def _stop(number: int, frame) -> None:
    """In the main thread: an exception, so that what is open is closed."""
    _say(number)
    if ended:  # no exception would come through
        os._exit(STATUS[number])
    raise SystemExit(STATUS[number])


def _watch(signals: socket.socket) -> None:
    """In a thread: an end where the main thread makes none, as in compiled code."""
    number = signals.recv(1)[0]
    while number not in STATUS:
        number = signals.recv(1)[0]
    time.sleep(0.3)
    _say(number)
    time.sleep(_GRACE / 2)
    _thread.interrupt_main(signal.Signals(number))  # if the exception was lost
    time.sleep(_GRACE / 2)
    os._exit(STATUS[number])


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Around what a launcher does: the right end, and all that was printed before."""
    try:
        yield
    except BaseException:
        if stopped:  # whatever has become of the exception on its way
            raise SystemExit(STATUS[stopped[0]]) from None
        raise
    finally:
        with contextlib.suppress(OSError):  # where nobody reads it any more
            sys.stdout.flush()
        ended.append(True)


def listen() -> None:
    """From now on, signals end the process in one line."""
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.detach(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(heard,), daemon=True).start()
    for number in STATUS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, _stop)
