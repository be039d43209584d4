"""ROS domains that no other test run on this machine uses at the same time."""

import fcntl
import os
import random
import tempfile
from pathlib import Path

# Higher ones use ports that the system gives to others.
_DOMAINS = range(1, 100)
_locks = []


def own_domain() -> int:
    """Return a domain that nobody has; it is given back when this process ends."""
    for domain in random.Random(os.getpid()).sample(_DOMAINS, len(_DOMAINS)):
        lock = (Path(tempfile.gettempdir()) / f'ros_domain_{domain}_{os.getuid()}').open('a')
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            _locks.append(lock)
            return domain
    raise RuntimeError('every ROS domain is in use by another test run')
