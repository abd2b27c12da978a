"""Score streams that several detectors share: the frames of a video in, columns of scores out."""
