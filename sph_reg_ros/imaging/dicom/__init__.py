"""What reading DICOM takes for CTs and X-rays alike."""
