// Serves the application of this folder, built before, on a free port of the
// loopback address, and says where. Usage: node server.mjs
import next from "next"
import { createServer } from "node:http"

const server = createServer((req, res) => handle(req, res))
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
const { port } = server.address()
const app = next({ dev: false, dir: import.meta.dirname, hostname: "127.0.0.1", port })
const handle = app.getRequestHandler()
await app.prepare()
console.log(`ready http://127.0.0.1:${port}`)

process.stdin.on("end", () => process.exit(0)).resume()
