"""Exit codes and error messages of commands."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from sph_reg_ros.errors import RegistrationError

EXIT_NOT_USABLE = 1
EXIT_ERROR = 2


@contextmanager
def reported_errors(as_json: bool = False) -> Iterator[None]:
    """Turn expected errors into a message on stderr and exit code 2.

    Args:
        as_json: write {"error": CODE, "message": TEXT} on stdout as well.
    """
    try:
        yield
    except (RegistrationError, OSError) as error:
        code = error.code.name if isinstance(error, RegistrationError) else type(error).__name__
        if as_json:
            typer.echo(json.dumps({'error': code, 'message': str(error)}))
        typer.echo(f'error: {error} [{code}]', err=True)
        raise typer.Exit(EXIT_ERROR) from None
