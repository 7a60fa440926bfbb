// A tour of one server with the TypeScript SDK's client; prints what it saw as one line of JSON.
// Usage: typescript.mjs legacy|auto http URL [KEY]   or   typescript.mjs legacy|auto stdio COMMAND [ARGUMENT…]
import { createRequire } from 'node:module'
import path from 'node:path'

const require = createRequire(path.join(process.env.TOOLGATE_PEERS, 'package.json'))
const { Client, StreamableHTTPClientTransport } = require('@modelcontextprotocol/client')
const { StdioClientTransport } = require('@modelcontextprotocol/client/stdio')

const [mode, kind, target, ...rest] = process.argv.slice(2)

function transport() {
  if (kind === 'stdio') {
    const { PATH, HOME, TOOLGATE_URL, TOOLGATE_KEY } = process.env
    const given = Object.entries({ PATH, HOME, TOOLGATE_URL, TOOLGATE_KEY }).filter(([, value]) => value !== undefined)
    return new StdioClientTransport({ command: target, args: rest, env: Object.fromEntries(given) })
  }
  const headers = rest[0] ? { Authorization: `Bearer ${rest[0]}` } : {}
  return new StreamableHTTPClientTransport(new URL(target), { requestInit: { headers } })
}

const client = new Client(
  { name: 'tour', version: '1' },
  { capabilities: { elicitation: {}, sampling: {} }, versionNegotiation: { mode } }
)
client.setRequestHandler('elicitation/create', async () => ({
  action: 'accept', content: { name: 'Ada', check: true, dish: 'soup' }
}))
client.setRequestHandler('sampling/createMessage', async () => ({
  role: 'assistant', model: 'stub', content: { type: 'text', text: 'Paris, said the model' }
}))
await client.connect(transport())

const call = (name, args, options) => client.callTool({ name, arguments: args }, options)
const text = async (name, args) => (await call(name, args)).content[0].text
const says = async (name, args, word) => JSON.stringify(await call(name, args)).includes(word)

const seen = { version: client.getNegotiatedProtocolVersion() }
seen.tools = (await client.listTools()).tools.map((tool) => tool.name)
seen.resources = (await client.listResources()).resources.map((resource) => resource.uri)
const probe = seen.tools.includes('order')
if (probe) {
  seen.echo = await text('echo', { text: 'héllo' })
  if (mode === 'auto') seen.order = await text('order', {})
  seen.note = (await client.readResource({ uri: 'note://probe/one' })).contents[0].text
} else {
  seen.echo = await text('echo', { message: 'héllo' })
  seen.sum = await text('get-sum', { a: 19, b: 23 })
  seen.structured = (await call('get-structured-content', { location: 'Chicago' })).structuredContent
  seen.progress = false
  const onprogress = () => { seen.progress = true }
  await call('trigger-long-running-operation', { duration: 0.4, steps: 4 }, { onprogress })
  seen.prompts = (await client.listPrompts()).prompts.map((prompt) => prompt.name)
  const filled = await client.getPrompt({ name: 'completable-prompt', arguments: { department: 'Sales', name: 'Eve' } })
  seen.prompt = filled.messages[0].content.text
  const ref = { type: 'ref/prompt', name: 'completable-prompt' }
  seen.completion = (await client.complete({ ref, argument: { name: 'department', value: 'S' } })).completion.values
  seen.elicitation = await says('trigger-elicitation-request', {}, 'Ada')
  seen.sampling = await says('trigger-sampling-request', { prompt: 'p', maxTokens: 5 }, 'Paris, said the model')
}
seen.denied = await call(probe ? 'forbidden' : 'get-env', {}).then(() => null, (error) => error.code)
await client.close()
process.stdout.write(JSON.stringify(seen) + '\n')
