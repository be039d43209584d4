"""How often the tests of promises repeat themselves, and where their figures go.

`make test` runs a few repetitions. `make reliability` sets RELIABILITY_RECORD, runs the full number
and collects what the tests record.
"""

import json
import os
from pathlib import Path

RECORD = os.environ.get('RELIABILITY_RECORD', '')


def repetitions(short: int, full: int) -> int:
    return full if RECORD else short


def record(promise: str, value: str) -> None:
    """Note the figure that a promise came to; printed as well."""
    print(f'{promise}: {value}')
    if RECORD:
        with Path(RECORD).open('a', encoding='utf-8') as file:
            file.write(json.dumps([promise, value]) + '\n')
