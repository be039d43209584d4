"""Reads the package's source for imports that go up, for ROS, and for data that is executed."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from os.path import commonprefix
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / 'sph_reg_ros'
FLOORS = (
    ('__init__', 'errors', 'files', 'plausible', 'settings'),
    ('geometry',),
    ('imaging',),
    ('rendering',),
    ('similarity', 'networks'),
    ('solvers',),
    ('registration',),
    ('training', 'augmentation', 'evaluation'),
    ('messages',),
    ('service',),
    ('ros', 'replay', 'demo', 'cli'),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
GENERATED = ('sph_reg_ros.action', 'sph_reg_ros.msg', 'sph_reg_ros.srv')
ROS_WORDS = ('ament', 'cv_bridge', 'launch', 'message_filters', 'rclpy', 'rosbag2', 'rosidl', 'tf2')
ROS_ENDINGS = ('_interfaces', '_msgs', '_srvs')
EXECUTES_DATA = {
    'modules': {'cloudpickle', 'dill', 'joblib', 'marshal', 'pickle', 'shelve'},
    'calls': {
        *('eval', 'exec', 'torch.load', 'torch.jit.load', 'yaml.load', 'yaml.full_load'),
        *('yaml.unsafe_load', 'yaml.load_all'),
    },
}


def is_ros(module: str) -> bool:
    first = module.split('.')[0]
    return (
        first.startswith(ROS_WORDS) or first.endswith(ROS_ENDINGS) or module.startswith(GENERATED)
    )


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix('').parts
    return '.'.join(part for part in parts if part != '__init__')


def imported_modules(path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Return line and full name of everything imported: modules, or names within them."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = '.'.join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f'{base}.{alias.name}') for alias in node.names)


def floor_of(module: str) -> int:
    part = module.split('.')[1] if '.' in module else '__init__'
    part = '__init__' if part.startswith('__') else part  # its attributes, such as __version__
    assert part in FLOOR_OF, f'{module}: say on which floor it is'
    return FLOOR_OF[part]


def broken_rules(path: Path, root: Path = REPOSITORY) -> list[str]:
    """Return imports that go up, of ROS outside sph_reg_ros.ros, and of the node by replay."""
    importer = module_name(path, root)
    broken = []
    for line, imported in imported_modules(path, root):
        where = f'{importer}:{line} imports {imported}'
        if is_ros(imported):
            if not importer.startswith('sph_reg_ros.ros'):
                broken.append(f'{where}: ROS')
        elif importer.startswith('sph_reg_ros.replay') and imported.startswith('sph_reg_ros.ros'):
            broken.append(f'{where}: bags are replayed without the node')
        elif imported.startswith('sph_reg_ros.') and floor_of(imported) > floor_of(importer):
            broken.append(f'{where}: up')
    return broken


def circles(paths: Iterable[Path], root: Path = REPOSITORY) -> list[list[str]]:
    """Return files and folders that import each other; a folder counts as one of its neighbours."""
    modules = {'.'.join(path.relative_to(root).with_suffix('').parts): path for path in paths}
    neighbours: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for importer, path in modules.items():
        for _, name in imported_modules(path, root):
            outer = name.rpartition('.')[0]
            candidates = (name, f'{name}.__init__', outer, f'{outer}.__init__')
            imported = next((module for module in candidates if module in modules), importer)
            folder, mine, theirs = parting(importer, imported)
            if mine != theirs:
                neighbours[folder][mine].add(theirs)
    found = []
    for folder, graph in neighbours.items():
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            found.append([f'{folder}.{name}' for name in error.args[1]])
    return found


def parting(one: str, other: str) -> tuple[str, str, str]:
    """Return the innermost folder that holds both modules, and what holds each within it."""
    parts, others = one.split('.'), other.split('.')
    shared = len(commonprefix([parts[:-1], others[:-1]]))
    return '.'.join(parts[:shared]), parts[shared], others[shared]


def executed_data(path: Path, root: Path = REPOSITORY) -> list[str]:
    """Return what would execute code that came as data."""
    found = [
        f'{path}:{line} {name}'
        for line, name in imported_modules(path, root)
        if name.split('.')[0] in EXECUTES_DATA['modules']
    ]
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in EXECUTES_DATA['calls']:
            found.append(f'{path}:{node.lineno} {ast.unparse(node.func)}')
        if isinstance(node, ast.keyword) and node.arg == 'allow_pickle':
            found.append(f'{path}:{node.value.lineno} allow_pickle')
    return found
