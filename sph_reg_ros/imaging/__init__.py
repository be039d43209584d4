"""CT and X-rays in: files and DICOM geometry, Hounsfield units and counts to attenuation."""
