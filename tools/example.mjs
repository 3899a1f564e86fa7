// `npm run task-queue`, `npm run order-service`: set-up, then one program of examples/. The broker comes from configuration:
// POSTHORN_BROKER, POSTHORN_<NAME>_URL, examples/posthorn.config.json. A program that is a whole application takes the embedded broker
// where nothing is said, and a real server that is only named (`--broker redis`, `POSTHORN_BROKER=redis`) is started for this run.
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { startable } from './lib/demo-broker.mjs'
import { runNode } from './lib/process.mjs'
import { root } from './lib/workspace.mjs'
import { setup } from './setup.mjs'

/** `alone`: an application in one process. The others meet on a server; `place-orders` needs none. */
const programs = {
  'order-service': { file: 'order-notification/src/order-service.ts', broker: 'shared' },
  'notification-service': { file: 'order-notification/src/notification-service.ts', broker: 'shared' },
  'place-orders': { file: 'order-notification/src/place-orders.ts', broker: 'none' },
  'task-queue': { file: 'task-queue/src/task-queue.ts', broker: 'alone' },
  'task-worker': { file: 'task-queue/src/worker.ts', broker: 'shared' },
  burst: { file: 'burst/src/burst.ts', broker: 'alone' },
  'smart-home': { file: 'smart-home/src/smart-home.ts', broker: 'alone' },
  'chained-topics': { file: 'chained-topics/src/chained-topics.ts', broker: 'alone' },
  replay: { file: 'replay/src/replay.ts', broker: 'alone' },
}

const refuse = (text) => {
  process.stderr.write(`${text}\n`)
  process.exit(2)
}

/** Takes `--broker NAME` or `--broker=NAME` out of the arguments. */
function takeBroker(args) {
  const at = args.findIndex((arg) => arg === '--broker' || arg.startsWith('--broker='))
  if (at === -1) return { rest: args }
  const inline = args[at] !== '--broker'
  const asked = inline ? args[at].slice('--broker='.length) : args[at + 1]
  return { asked: asked ?? '', rest: [...args.slice(0, at), ...args.slice(at + (inline ? 1 : 2))] }
}

/** Where messages lie in one process, two programs see nothing of each other; where nothing is said, there is no server to meet on. */
async function checkShared(name, cwd, env) {
  const { loadConfig } = await import(pathToFileURL(join(root, 'packages', 'core', 'dist', 'config.js')).href)
  const start =
    'a server of your own, without docker: `npm run broker redis` in another terminal; it prints what to set POSTHORN_BROKER to.'
  try {
    const target = await loadConfig(undefined, { cwd, env })
    const url = typeof target === 'string' ? target : target.url
    if (url?.startsWith('memory:'))
      refuse(`${name} meets other programs on a server, and "memory:" keeps messages in one process: nobody would get them.\n${start}`)
  } catch (error) {
    refuse(`${error.message}\n${start}`)
  }
}

const [name, ...args] = process.argv.slice(2)
const program = programs[name]
if (program === undefined) refuse(`there is no example "${name}". there are ${Object.keys(programs).join(', ')}`)
const script = join(root, 'examples', program.file)
const cwd = dirname(dirname(script))
const { asked, rest } = takeBroker(args)
if (asked !== undefined && program.broker !== 'alone')
  refuse(`${name} takes its broker from POSTHORN_BROKER: a server that is started for one program has no other one on it`)
// A URL may hold a password: only what stands before it is shown.
if (asked !== undefined && !asked.includes(':') && asked !== 'memory' && !startable.includes(asked))
  refuse(`--broker takes memory, ${startable.join(', ')} or the URL of a server that runs, not "${asked}"`)

await setup()
if (!existsSync(script)) refuse(`this checkout has no examples/${program.file}`)
const env = { ...process.env }
// Says to the launcher where servers come from; to the library it is a misspelt POSTHORN_BROKER.
delete env.POSTHORN_BROKERS
if (program.broker === 'shared') await checkShared(name, cwd, env)
const chosen = program.broker === 'alone' ? (asked ?? env.POSTHORN_BROKER ?? 'memory') : undefined
if (chosen !== undefined) env.POSTHORN_BROKER = chosen === 'memory' ? `memory:${name}` : chosen
/** Named, and nothing says where it is. */
const wanted = startable.includes(chosen) && !Object.keys(env).some((key) => key.startsWith(`POSTHORN_${chosen.toUpperCase()}_URL`))

let server
try {
  if (wanted) {
    const { startBroker } = await import('./brokers/index.mjs')
    server = await startBroker(chosen)
    process.stderr.write(`broker: ${server.title} (${server.source}, ${server.profile}), port ${server.port}\n`)
    env.POSTHORN_BROKER = server.url
  }
  const tsx = pathToFileURL(join(root, 'node_modules', 'tsx', 'dist', 'loader.mjs')).href
  process.exitCode = (await runNode(['--import', tsx, script, ...rest], { live: true, cwd, env })).code
} catch (error) {
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
} finally {
  await server?.stop()
}
