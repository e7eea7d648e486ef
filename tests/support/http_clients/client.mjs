// Uploads a file, requests its separation, and follows it. Arguments: base URL and API key.
const [base, key] = process.argv.slice(2);

async function send(url, options, status) {
  const response = await fetch(url, options);
  if (response.status !== status) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return response;
}

const post = async (path, body, status) =>
  (await send(base + path, {
    method: "POST",
    headers: { "X-API-Key": key, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  }, status)).json();

const file = "ID3 of Node";
const slot = await post("/uploads", { filename: "song.mp3", content_type: "audio/mpeg", size: file.length }, 200);
await send(slot.url, { method: "PUT", headers: slot.headers, body: Buffer.from(file) }, 200);
const { track_id: track } = await post("/separate-audio", { upload_id: slot.upload_id }, 202);
await send(`${base}/job/${track}`, { headers: { "X-API-Key": key } }, 200);
const events = await send(`${base}/job/${track}/events`, { headers: { "X-API-Key": key } }, 200);
let text = "";
for await (const chunk of events.body.pipeThrough(new TextDecoderStream())) {
  text += chunk;
  if (text.includes("event: snapshot\n")) break;
}
if (!text.includes("event: snapshot\n")) throw new Error("the stream ended without a snapshot");
console.log(track);
