"""Files as people have them, decoded by fetch and separated by `run`, compared with FFmpeg's own decoding."""
