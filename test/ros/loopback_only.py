"""Runs a command where there is no network; ends with an error if it tried to use one.

Start it by `unshare --map-root-user --net`: in that network namespace there is nothing but the
loopback interface. The kernel counts the packets and connections that had nowhere to go.
"""

import fcntl
import socket
import struct
import subprocess
import sys
from pathlib import Path

SIOCSIFFLAGS, IFF_UP = 0x8914, 1
ELSEWHERE = ('203.0.113.1', 9)  # TEST-NET-3, RFC 5737


def raise_loopback() -> None:
    names = [name for _, name in socket.if_nameindex()]
    assert names == ['lo'], f'this is no network namespace of its own: {names}'
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack('16sh14x', b'lo', IFF_UP))


def unrouted() -> int:
    """Return how often something has tried to reach another machine."""
    names, values = (
        line.split()
        for line in Path('/proc/net/snmp').read_text().splitlines()
        if line.startswith('Ip:')
    )
    lines = Path('/proc/net/snmp6')
    six = dict(line.split() for line in lines.read_text().splitlines()) if lines.exists() else {}
    return int(values[names.index('OutNoRoutes')]) + int(six.get('Ip6OutNoRoutes', 0))


def require_that_attempts_are_counted() -> None:
    before = unrouted()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        assert out.connect_ex(ELSEWHERE), 'there is a way out'
    assert unrouted() == before + 1


if __name__ == '__main__':
    raise_loopback()
    require_that_attempts_are_counted()
    start = unrouted()
    code = subprocess.call(sys.argv[1:])
    attempts = unrouted() - start
    print(f'attempts to reach another machine: {attempts}')
    sys.exit(code or int(attempts > 0))
