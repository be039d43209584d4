"""Register a DICOM X-ray to a CT: python register_dicom.py CT XRAY; no file: the sample CT."""

import subprocess
import sys

import sph_reg_ros as sph

if len(sys.argv) == 1:
    sys.argv += [str(sph.sample_ct_path()), 'xray.dcm']
    render = ['sph-reg', 'render', '--ct', sys.argv[1], '--output', sys.argv[2]]
    subprocess.run([*render, '--angles', '30', '5', '--energy', '70'], check=True)

volume = sph.attenuation_from_hounsfield(sph.load_ct(sys.argv[1]))
xray = sph.load_xray(sys.argv[2])
result = sph.register(sph.RegistrationRequest(volume, (sph.view_of(xray),)))

print(result.verdict.name)
for check in result.checks:
    print(f'{check.name:24} {check.value:10.4g}  limit {check.limit:.4g}')
print(result.camera_from_ct[0])
