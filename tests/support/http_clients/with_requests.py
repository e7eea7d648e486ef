"""Uploads a file, requests its separation, and follows it, with requests. Arguments: base URL and API key."""

import sys

import requests

BASE, KEY = sys.argv[1:]
FILE = b"ID3 of requests"

with requests.Session() as session:
    session.headers["X-API-Key"] = KEY
    described = {"filename": "song.mp3", "content_type": "audio/mpeg"}
    response = session.post(f"{BASE}/uploads", json={**described, "size": len(FILE)}, timeout=30)
    response.raise_for_status()
    slot = response.json()
    requests.put(slot["url"], data=FILE, headers=slot["headers"], timeout=30).raise_for_status()
    response = session.post(f"{BASE}/separate-audio", json={"upload_id": slot["upload_id"]}, timeout=30)
    response.raise_for_status()
    track = response.json()["track_id"]
    session.get(f"{BASE}/job/{track}", timeout=30).raise_for_status()
    with session.get(f"{BASE}/job/{track}/events", stream=True, timeout=30) as events:
        next(line for line in events.iter_lines(chunk_size=1) if line == b"event: snapshot")
sys.stdout.write(f"{track}\n")
