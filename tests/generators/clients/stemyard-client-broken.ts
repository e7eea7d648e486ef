// Separates through connections that break off. Arguments: URL, key, folder.
import { Client, openFile, save } from "stemyard-client/node";

const [url, key, folder] = process.argv.slice(2) as [string, string, string];
const client = new Client({ url, key });
const separation = await client.separate(await openFile(`${folder}/song.mp3`));
await separation.wait({ timeoutSeconds: 60 });
await save(separation, folder);
process.stdout.write(separation.trackId);
