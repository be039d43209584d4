"""What the CUDA kernels need of a GPU's registers; compiled for GPUs that need not be there.

Run it by itself, before anything else imports triton: under Triton's interpreter nothing compiles.
"""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from sph_reg_ros.rendering.cuda import kernel

ARCHITECTURES = (80, 90)
TILE = {'TILE_H': 16, 'TILE_W': 8}
VARIANTS = {
    'image': ('*i32', False),
    'image + Jacobian': ('*i32', True),
    'image, small volume': ('*i64', False),
    'image + Jacobian, small volume': ('*i64', True),
}
POINTERS = {
    'levels': '*fp32', 'view': '*fp64', 'poses': '*fp64', 'scenes': '*fp32',
    'image': '*fp32', 'jacobian': '*fp32',
}  # fmt: skip


@dataclass(frozen=True)
class Usage:
    """What one kernel needs a thread."""

    name: str
    architecture: int
    registers: int
    spilled_bytes: int

    def __str__(self) -> str:
        """Return one line."""
        return (
            f'sm_{self.architecture} {self.name}: {self.registers} registers, '
            f'{self.spilled_bytes} bytes spilled'
        )


def usages() -> list[Usage]:
    """Compile every kernel for every architecture."""
    found = []
    for architecture in ARCHITECTURES:
        found.append(_usage('poses', kernel.prepare, {'poses': '*fp64'}, {}, architecture, 1))
        for name, (pairs, jacobian) in VARIANTS.items():
            constants = {'JACOBIAN': jacobian, 'PROJECT': jacobian, **TILE}
            found.append(
                _usage(
                    name,
                    kernel.render,
                    {'poses': 'i32', 'pairs': pairs},
                    constants,
                    architecture,
                    4,
                )
            )
    return found


def _usage(
    name: str,
    function: triton.JITFunction,
    types: dict[str, str],
    constants: dict[str, int],
    architecture: int,
    warps: int,
) -> Usage:
    signature = {argument: POINTERS.get(argument, 'i32') for argument in function.arg_names}
    signature |= types | dict.fromkeys(constants, 'constexpr')
    compiled = triton.compile(
        ASTSource(function, signature, constants),
        target=GPUTarget('cuda', architecture, 32),
        options={'num_warps': warps, 'enable_fp_fusion': True},
    )
    tool = Path(triton.__file__).parent / 'backends/nvidia/bin/cuobjdump'
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        Path(file.name).write_bytes(compiled.asm['cubin'])
        command = [tool, '-res-usage', file.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, spilled = (
        sum(map(int, re.findall(pattern, said))) for pattern in (r'REG:(\d+)', r'STACK:(\d+)')
    )
    return Usage(name, architecture, registers, spilled)


if __name__ == '__main__':
    print(*usages(), sep='\n')
