// One request to an HTTP service by its tool, with the TypeScript SDK's client; prints what it saw as one line of JSON.
// Usage: request.mjs legacy|auto URL KEY ARGUMENTS
import { createRequire } from 'node:module'
import path from 'node:path'

const require = createRequire(path.join(process.env.TOOLGATE_PEERS, 'package.json'))
const { Client, StreamableHTTPClientTransport } = require('@modelcontextprotocol/client')

const [mode, url, key, given] = process.argv.slice(2)
const client = new Client({ name: 'request', version: '1' }, { versionNegotiation: { mode } })
const headers = { Authorization: `Bearer ${key}` }
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }))

const seen = { version: client.getNegotiatedProtocolVersion(), instructions: client.getInstructions() }
seen.tools = (await client.listTools()).tools.map((tool) => tool.name)
seen.documentation = (await client.callTool({ name: 'documentation', arguments: {} })).content[0].text
// The list was asked for before, so the client holds the result against the tool's schema.
seen.answer = await client.callTool({ name: 'request', arguments: JSON.parse(given) })
seen.missing = await client.callTool({ name: 'request', arguments: { method: 'GET' } })
const refused = { name: 'request', arguments: { method: 'DELETE', path: '/v1/orders/7' } }
seen.refused = await client.callTool(refused).then(() => null, (error) => error.code)
await client.close()
process.stdout.write(JSON.stringify(seen) + '\n')
