# A newer yt-dlp for sources.youtube.overlay, from the folder that `make ytdlp` fills:
#   docker build -f images/ytdlp.Dockerfile build/ytdlp
# It is mounted and never run: it contains no program and runs on no platform in particular.
FROM scratch
COPY . /
ARG VERSION
LABEL org.opencontainers.image.title="yt-dlp for Stemyard" \
      org.opencontainers.image.description="yt-dlp and yt-dlp-ejs, for sources.youtube.overlay" \
      org.opencontainers.image.source="https://github.com/yt-dlp/yt-dlp" \
      org.opencontainers.image.licenses="Unlicense AND MIT AND ISC" \
      org.opencontainers.image.version="${VERSION}"
