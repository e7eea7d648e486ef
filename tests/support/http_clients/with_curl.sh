#!/usr/bin/env bash
# Uploads a file, requests its separation, and follows it, offering h2c. Arguments: base URL and API key.
set -euo pipefail
base=$1 key=$2 file="ID3 of curl"
ask() { curl --silent --show-error --fail-with-body --http2 --max-time 30 --header "X-API-Key: $key" "$@"; }
post() { ask --header "Content-Type: application/json" --data "$2" "$base$1"; }
field() { sed -E "s/.*\"$1\": ?\"([^\"]*)\".*/\1/"; }

slot=$(post /uploads "{\"filename\":\"song.mp3\",\"content_type\":\"audio/mpeg\",\"size\":${#file}}")
curl --silent --show-error --fail-with-body --max-time 30 --request PUT --header "Content-Type: audio/mpeg" \
  --header "Content-Disposition: attachment" --header "If-None-Match: *" --data "$file" "$(field url <<<"$slot")"
track=$(post /separate-audio "{\"upload_id\":\"$(field upload_id <<<"$slot")\"}" | field track_id)
ask "$base/job/$track" >/dev/null
# grep closes the pipe at the first snapshot, which ends curl with an error
{ ask --no-buffer "$base/job/$track/events" 2>/dev/null || true; } | grep --max-count 1 --quiet "^event: snapshot$"
echo "$track"
