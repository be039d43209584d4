"""CTs: DICOM series and volume files to Hounsfield units on a grid in the LPS world."""
