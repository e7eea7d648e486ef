#!/usr/bin/env bash
# PUTs a file to an upload link in several ways. Arguments: way=link; prints a line "way status" for each.
set -euo pipefail
file=$(mktemp)
trap 'rm -f "$file"' EXIT
printf 'ID3 12345' >"$file"
for argument in "$@"; do
  way=${argument%%=*} link=${argument#*=}
  type="audio/mpeg" source=(--upload-file "$file") more=()
  case $way in
    stream) source=(--upload-file -) ;; # a pipe has no length: it goes in chunks
    charset) type="audio/mpeg; charset=utf-8" ;;
    length) more=(--header "Content-Length: 9") ;;
    expect) more=(--header "Expect: 100-continue") ;;
  esac
  status=$(curl --silent --output /dev/null --write-out '%{http_code}' --max-time 30 "${source[@]}" "${more[@]}" \
    --header "Content-Type: $type" --header "Content-Disposition: attachment" --header "If-None-Match: *" "$link" <"$file")
  echo "$way $status"
done
