"""A lock for objects that are sent to worker processes."""

import threading


class OwnLock:
    """A lock of one process: a copy of it in another process is a new one, free."""

    def __init__(self):
        self._lock = threading.Lock()

    def __enter__(self):
        self._lock.acquire()

    def __exit__(self, *_):
        self._lock.release()

    def __reduce__(self):
        return OwnLock, ()
