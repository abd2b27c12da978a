"""Shot detectors, one file each: the file has the name of its detector and defines DETECTOR."""
