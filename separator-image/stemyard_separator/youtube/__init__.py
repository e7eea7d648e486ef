"""Recordings from YouTube through yt-dlp, which runs in a process of its own."""
