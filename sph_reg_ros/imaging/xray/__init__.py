"""X-rays: DICOM and picture files, their geometry and intensities, and what may be compared."""
