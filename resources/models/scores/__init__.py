"""Score streams that several detectors share: they turn the frames of a video into columns of scores."""
