"""ffmpeg and PyAV: what is in a video, its frames, its sound, and the files that are made of it."""
