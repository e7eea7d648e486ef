// PUTs a file to an upload link in several ways. Arguments: way=link; prints a line "way status" for each.
const file = Buffer.from("ID3 12345");

async function put(way, link) {
  const body = way === "stream" ? new Blob([file]).stream() : file; // a stream goes in chunks
  const headers = {
    "Content-Type": way === "charset" ? "audio/mpeg; charset=utf-8" : "audio/mpeg",
    "Content-Disposition": "attachment",
    "If-None-Match": "*",
    ...(way === "length" ? { "Content-Length": String(file.length) } : {}),
  };
  const response = await fetch(link, { method: "PUT", headers, body, duplex: "half" });
  await response.text();
  return response.status;
}

for (const argument of process.argv.slice(2)) {
  const at = argument.indexOf("=");
  const way = argument.slice(0, at);
  console.log(way, await put(way, argument.slice(at + 1)));
}
