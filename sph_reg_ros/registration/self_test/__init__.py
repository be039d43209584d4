"""The registration tried on the CT's own localizer, a real X-ray whose pose the scanner states."""
