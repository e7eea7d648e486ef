"""YouTube search and download with yt-dlp, which runs in a separate process."""
