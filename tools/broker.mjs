// `npm run broker redis`: a real server for a person. Fetches it if need be, starts it, prints its URL, and ends it with Ctrl-C.
import { parseArgs } from 'node:util'

const usage = `npm run broker NAME
npm run broker -- NAME [--profile stock] [--port PORT]

  NAME       redis, rabbitmq, kafka, mqtt (Mosquitto) or hivemq
  --profile  durable (what it acknowledged survives kill -9; the default) or stock (as its distribution ships it)
  --port     by default a free one

  It is looked for in this order: POSTHORN_<NAME>_URL (a server that runs already), POSTHORN_<NAME>_BINARY, the project's cache,
  the system, Debian packages unpacked into the cache, docker. POSTHORN_BROKERS=docker takes docker before packages;
  POSTHORN_CACHE is the folder of the cache, by default ~/.cache/posthorn.
`

function refuse(text) {
  process.stderr.write(`${text}\n\n${usage}`)
  process.exit(2)
}

function parse() {
  try {
    const options = { profile: { type: 'string' }, port: { type: 'string' }, help: { type: 'boolean' } }
    return parseArgs({ allowPositionals: true, options })
  } catch (error) {
    return refuse(error.message)
  }
}

const { values, positionals } = parse()
if (values.help) {
  process.stdout.write(usage)
  process.exit(0)
}
const [name, ...rest] = positionals
const port = values.port === undefined ? undefined : Number(values.port)
if (name === undefined) refuse('which server?')
if (rest.length > 0) refuse(`one server at a time, not also ${rest.join(' ')}`)
if (!['durable', 'stock', undefined].includes(values.profile)) refuse(`the profile is durable or stock, not ${values.profile}`)
if (port !== undefined && !(Number.isInteger(port) && port > 0 && port < 65_536)) refuse(`${values.port} is not a port`)

const { install } = await import('./setup.mjs')
await install()
const { BrokerMissing, startBroker } = await import('./brokers/index.mjs')

const promises = {
  durable: 'what it acknowledged survives kill -9',
  graceful: 'what it acknowledged survives a clean stop, and not kill -9',
  volatile: 'nothing is promised to survive',
}

let broker
try {
  broker = await startBroker(name, { profile: values.profile, port })
} catch (error) {
  process.stderr.write(`${error.message}\n`)
  process.exit(error instanceof BrokerMissing ? 3 : 1)
}

const { title, source, url, profile, folder, pid } = broker
process.stdout.write(`${title} (${source}), ${profile}: ${promises[profile]}

  ${url}

use    connect('${url}')
       POSTHORN_BROKER='${url}' npm run order-service, and the same before npm run notification-service
       npm run demo -- --broker ${name}, with POSTHORN_${name.toUpperCase()}_URL=${url}
${folder === '' ? '' : `files  ${folder} (configuration, data, server.log)\n`}${pid === undefined ? '' : `try    kill -9 ${pid} and see what an application does; it is started again\n`}stop   Ctrl-C ends it and removes its data
`)

async function end() {
  clearInterval(watching)
  await broker.stop()
  process.stdout.write(`\n${title} is stopped\n`)
  process.exit(0)
}

let restarting = false
// A person who kills the server wants to see it come back.
const watching = setInterval(async () => {
  if (source === 'external' || source === 'docker' || restarting || broker.pid !== undefined) return
  restarting = true
  process.stdout.write(`${title} ended; starting it again on the same data and port\n`)
  try {
    await broker.start()
    process.stdout.write(`${title} answers again; its process is ${broker.pid}\n`)
  } catch (error) {
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  }
  restarting = false
}, 500)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, end)
