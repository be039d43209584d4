"""Print what pyproject.toml asks for, one requirement a line.

Use: dependencies.py GROUP ..., a group is `package` or one of its extras.

Development environments install the requirements but never the package itself: pip would take the
generated ROS messages of the same name for an old version and delete them.
"""

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib


def requirements(groups: list[str]) -> list[str]:
    """Return the requirements of `package` and of the extras named."""
    text = (Path(__file__).parents[1] / 'pyproject.toml').read_text(encoding='utf-8')
    project = tomllib.loads(text)['project']
    known = {'package': project['dependencies'], **project['optional-dependencies']}
    return [requirement for group in groups for requirement in known[group]]


if __name__ == '__main__':
    print('\n'.join(requirements(sys.argv[1:])))
