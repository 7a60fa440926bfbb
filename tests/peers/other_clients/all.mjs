// A tour of the endpoint of all services with one of the TypeScript SDK's clients; prints what it saw as one line of JSON.
// Usage: all.mjs sdk|client-legacy|client-auto URL KEY FOLDER
import { createRequire } from 'node:module'
import path from 'node:path'

const require = createRequire(path.join(process.env.TOOLGATE_PEERS, 'package.json'))
const [which, url, key, folder] = process.argv.slice(2)
const requestInit = { headers: { Authorization: `Bearer ${key}` } }
const about = { name: 'tour', version: '1' }

let client, transport
if (which === 'sdk') {
  const { Client } = require('@modelcontextprotocol/sdk/client/index.js')
  const { StreamableHTTPClientTransport } = require('@modelcontextprotocol/sdk/client/streamableHttp.js')
  client = new Client(about, { capabilities: {} })
  transport = new StreamableHTTPClientTransport(new URL(url), { requestInit })
} else {
  const { Client, StreamableHTTPClientTransport } = require('@modelcontextprotocol/client')
  const mode = which.split('-')[1]
  client = new Client(about, { capabilities: {}, versionNegotiation: { mode } })
  transport = new StreamableHTTPClientTransport(new URL(url), { requestInit })
}
await client.connect(transport)

const call = (name, args, options) =>
  which === 'sdk' ? client.callTool({ name, arguments: args }, undefined, options) : client.callTool({ name, arguments: args }, options)
// A member that is still starting may be missing from a list; the next one has it.
const services = ['everything-http', 'files', 'time']
const seen = { tools: [] }
for (let look = 0; look < 60 && !services.every((service) => seen.tools.some((name) => name.startsWith(`${service}__`))); look += 1) {
  if (look > 0) await new Promise((resolve) => setTimeout(resolve, 500))
  seen.tools = (await client.listTools()).tools.map((tool) => tool.name)
}
seen.prompts = (await client.listPrompts()).prompts.map((prompt) => prompt.name)
seen.sum = (await call('everything-http__get-sum', { a: 19, b: 23 })).content[0].text
seen.file = (await call('files__read_text_file', { path: path.join(folder, 'greeting.txt') })).content[0].text
seen.clock = (await call('time__convert_time', { source_timezone: 'UTC', time: '12:00', target_timezone: 'Asia/Kathmandu' })).structuredContent.time_difference
seen.progress = 0
await call('everything-http__trigger-long-running-operation', { duration: 0.4, steps: 4 }, { onprogress: () => { seen.progress += 1 } })
const filled = await client.getPrompt({ name: 'everything-http__completable-prompt', arguments: { department: 'Sales', name: 'Eve' } })
seen.prompt = filled.messages[0].content.text
seen.denied = await call('everything-http__get-env', {}).then(() => null, (error) => error.code)
seen.unknown = await call('nosuch__tool', {}).then(() => null, (error) => error.code)
await client.close()
process.stdout.write(JSON.stringify(seen) + '\n')
