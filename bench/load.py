"""Time and memory of loading CTs, and of registering them from the command to the verdict.

The CTs are the sample CT, resampled by its nearest voxels to several sizes and written in several
formats. Plain reading is what the format's own library takes for the stored numbers of the same
file, in a process of its own. Memory is that of all processes of a command together, each shared
page counted once, above what the same command takes for a CT of 64 x 64 x 64 voxels.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.imaging.sample_ct import sample_ct_path

SIZES = {'tiny': (64, 64, 64), 'sample': (512, 512, 133), 'large': (826, 826, 532),
         'largest': (1024, 1024, 1000)}  # fmt: skip
"""Voxels along i, j, k."""
FORMATS = ('nii', 'nii.gz', 'nrrd', 'mha', 'dicom')
MOST_BYTES_A_VOXEL, MOST_TIMES_READING, MOST_BYTES = 5.0, 2.0, 8e9
NEEDED_BYTES_A_VOXEL = 9
"""What a run may take at the most, with the file in memory as well."""
GIGABYTE = 1e9

LOAD = """
import sys, time
from pathlib import Path
from sph_reg_ros.imaging.attenuation import attenuation_from_hounsfield
from sph_reg_ros.imaging.load import load_ct
begun = time.perf_counter()
attenuation_from_hounsfield(load_ct(Path(sys.argv[1])))
print(time.perf_counter() - begun)
"""
READ = """
import sys, time
from pathlib import Path
path = Path(sys.argv[1])
if path.is_dir():
    import pydicom
    begun = time.perf_counter()
    for file in path.iterdir():
        pydicom.dcmread(file).pixel_array
elif '.nii' in path.name:
    import nibabel
    begun = time.perf_counter()
    nibabel.load(path).dataobj.get_unscaled().max()
else:
    import SimpleITK
    begun = time.perf_counter()
    SimpleITK.ReadImage(str(path))
print(time.perf_counter() - begun)
"""


@dataclass(frozen=True)
class Run:
    """What a command took.

    Attributes:
        seconds: from its start to its end.
        printed: its last line.
        peak_bytes: memory of it and its children.
    """

    seconds: float
    printed: str
    peak_bytes: int


@dataclass(frozen=True)
class Row:
    """What one CT took; seconds, and bytes a voxel above the process."""

    size: str
    format: str
    voxels: int
    read_s: float
    load_s: float
    verdict_s: float
    load_bytes_a_voxel: float
    verdict_bytes_a_voxel: float
    verdict_peak_bytes: int
    verdict: str

    @property
    def times_reading(self) -> float:
        """Return how much longer loading takes than reading."""
        return self.load_s / self.read_s


def main() -> None:
    """Print a table; with --strict exit 1 where an aim is missed."""
    arguments = _arguments()
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder, sample = Path(name), load_ct(sample_ct_path())
        xray = folder / 'xray.dcm'
        tiny = write('nii', sample, SIZES['tiny'], folder)
        _run(_cli('render', '--ct', str(tiny), '--output', str(xray)))
        above = {'load': _load(tiny).peak_bytes, 'verdict': _register(tiny, xray).peak_bytes}
        print(f'the process itself: {above["load"] / GIGABYTE:.2f} GB to load, '
              f'{above["verdict"] / GIGABYTE:.2f} GB to register\n')  # fmt: skip
        print(f'{"size":<9}{"format":<8}{"read s":>8}{"load s":>8}{"ratio":>7}{"verdict s":>11}'
              f'{"load B/voxel":>14}{"verdict B/voxel":>17}{"peak GB":>9}  verdict')  # fmt: skip
        for size in arguments.size:
            for suffix in arguments.format:
                row = _measure(sample, size, suffix, folder, xray, above, arguments.repeat)
                if row is not None:
                    rows.append(row)
                    _print(row)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + '\n')
    missed = [text for row in rows for text in _missed(row)]
    print('\n' + ('; '.join(missed) or f'no aim is missed by {len(rows)} CTs'))
    if arguments.strict and missed:
        sys.exit(1)


def _measure(
    sample: CT, size: str, suffix: str, folder: Path, xray: Path, above: dict[str, int], repeat: int
) -> Row | None:
    voxels = int(np.prod(SIZES[size]))
    needed, free = NEEDED_BYTES_A_VOXEL * voxels, _free_bytes()
    if needed > free:
        print(f'{size:<9}{suffix:<8}left out: it may need {needed / GIGABYTE:.1f} GB of memory, '
              f'{free / GIGABYTE:.1f} GB are free')  # fmt: skip
        return None
    path = write(suffix, sample, SIZES[size], folder)
    reads, loads = [], []
    # In turn, so that both see the same machine; the file is in the system's cache for both.
    for _ in range(repeat):
        reads.append(float(_run([sys.executable, '-c', READ, str(path)]).printed))
        loads.append(_load(path))
    register = _register(path, xray)
    _remove(path)
    load_s = statistics.median(float(load.printed) for load in loads)
    load_peak = max(load.peak_bytes for load in loads)
    return Row(
        size,
        suffix,
        voxels,
        statistics.median(reads),
        load_s,
        register.seconds,
        (load_peak - above['load']) / voxels,
        (register.peak_bytes - above['verdict']) / voxels,
        register.peak_bytes,
        json.loads(register.printed)['verdict'],
    )


def _print(row: Row) -> None:
    print(
        f'{row.size:<9}{row.format:<8}{row.read_s:8.2f}{row.load_s:8.2f}{row.times_reading:7.2f}'
        f'{row.verdict_s:11.1f}{row.load_bytes_a_voxel:14.2f}{row.verdict_bytes_a_voxel:17.2f}'
        f'{row.verdict_peak_bytes / GIGABYTE:9.2f}  {row.verdict}',
        flush=True,
    )


def _missed(row: Row) -> Iterator[str]:
    name = f'{row.size} {row.format}'
    for what, value in (('load', row.load_bytes_a_voxel), ('verdict', row.verdict_bytes_a_voxel)):
        if value > MOST_BYTES_A_VOXEL:
            yield f'{name}: {what} {value:.1f} bytes a voxel, aim {MOST_BYTES_A_VOXEL:g}'
    # Starting processes takes longer than reading a small CT.
    if row.times_reading > MOST_TIMES_READING and row.size != 'sample':
        yield f'{name}: load {row.times_reading:.1f} x reading, aim {MOST_TIMES_READING:g}'
    if row.verdict_peak_bytes > MOST_BYTES:
        yield f'{name}: {row.verdict_peak_bytes / GIGABYTE:.1f} GB, aim {MOST_BYTES / GIGABYTE:g}'


def _load(path: Path) -> Run:
    return _run([sys.executable, '-c', LOAD, str(path)])


def _register(ct: Path, xray: Path) -> Run:
    options = ('--ct', str(ct), '--xray', str(xray), '--json')
    return _run(_cli('register', *options), accepted=(0, 1))


def _cli(*options: str) -> list[str]:
    return [sys.executable, '-m', 'sph_reg_ros.cli', *options]


def _run(command: list[str], accepted: tuple[int, ...] = (0,)) -> Run:
    begun = time.perf_counter()
    with (
        tempfile.TemporaryFile('w+') as output,
        subprocess.Popen(command, stdout=output) as process,
    ):
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(map(_proportional_bytes, _family(process.pid))))
            time.sleep(0.02)
        seconds = time.perf_counter() - begun
        output.seek(0)
        text = output.read()
    if process.returncode not in accepted:
        sys.exit(f'{" ".join(command)} ended with {process.returncode}')
    return Run(seconds, text if text.startswith('{') else text.strip().rpartition('\n')[2], peak)


def _family(pid: int) -> list[int]:
    """Return a process, its children and theirs."""
    try:
        children = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in children for member in _family(int(child)))]


def _proportional_bytes(pid: int) -> int:
    """Return the memory of a process, with its share of the pages that others have as well."""
    try:
        lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith('Pss:'))


def _free_bytes() -> int:
    lines = Path('/proc/meminfo').read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith('MemAvailable'))


def write(suffix: str, ct: CT, size: tuple[int, int, int], folder: Path) -> Path:
    """Write the nearest voxels of a CT on a grid of another size in the same place."""
    path, old = folder / f'ct.{suffix}', np.array(ct.hounsfield.shape[::-1])
    steps = old / size
    index = np.diag([*steps, 1.0])
    index[:3, 3] = (steps - 1) / 2
    affine = ct.ct_from_index @ index
    i, j, k = (
        ((np.arange(n) + 0.5) * step).astype(int) for n, step in zip(size, steps, strict=True)
    )
    if suffix == 'dicom':
        path.mkdir()
        for number, slice_index in enumerate(k):
            plane = ct.hounsfield[slice_index][np.ix_(j, i)]
            _slice(plane, affine, number).save_as(path / f'{number}.dcm', enforce_file_format=True)
        return path
    image = SimpleITK.GetImageFromArray(ct.hounsfield[np.ix_(k, j, i)])
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    SimpleITK.WriteImage(image, str(path), useCompression=suffix != 'nii', compressionLevel=1)
    return path


def _slice(plane: np.ndarray, affine: np.ndarray, k: int) -> Dataset:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, f'1.2.3.{k + 1}'
    made.Modality, made.PatientID, made.SeriesInstanceUID = 'CT', 'bench', '1.2.3'
    made.ImagePositionPatient = [f'{x:.10g}' for x in affine[:3, 3] + k * affine[:3, 2]]
    made.ImageOrientationPatient = [
        f'{x:.10g}' for x in (affine[:3, :2] / spacing[:2]).T.reshape(-1)
    ]
    made.PixelSpacing = [f'{x:.10g}' for x in spacing[1::-1]]
    made.Rows, made.Columns = plane.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, 'MONOCHROME2'
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 1
    made.RescaleSlope, made.RescaleIntercept = 1, 0
    made.PixelData = plane.astype('<i2').tobytes()
    return made


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--size', nargs='+', choices=SIZES, default=['sample', 'large', 'largest'])
    parser.add_argument('--format', nargs='+', choices=FORMATS, default=FORMATS)
    parser.add_argument('--repeat', type=int, default=3, help='readings and loadings, in turn')
    parser.add_argument('--folder', type=Path, help='where the files are made and removed again')
    parser.add_argument('--quick', action='store_true', help='the sample CT, two formats, once')
    parser.add_argument('--json', type=Path, help='file for all figures')
    parser.add_argument('--strict', action='store_true', help='exit 1 where an aim is missed')
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.size, arguments.format, arguments.repeat = ['sample'], ('nii', 'nii.gz'), 1
    return arguments


if __name__ == '__main__':
    os.environ.setdefault('OMP_NUM_THREADS', '2')
    main()
