// `npm run bench`: set-up, then the benchmark, which asks here for a server of every broker that it measures. Its exit code is ours.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from './lib/workspace.mjs'
import { setup } from './setup.mjs'

const script = join(root, 'packages', 'bench', 'dist', 'bench.js')
await setup()
if (!existsSync(script)) {
  process.stderr.write('this checkout has no packages/bench/src/bench.ts\n')
  process.exit(1)
}
const { BrokerMissing, startBroker } = await import('./brokers/index.mjs')
const { bench } = await import(pathToFileURL(script).href)

const started = []
/** A server as the benchmark knows one. One of the environment is taken as it is set. */
async function start(name, settings) {
  const external = process.env[`POSTHORN_${name.toUpperCase()}_URL`] !== undefined
  // A Java machine is told to compile for speed.
  const fast = name === 'kafka' ? { fast: true } : {}
  try {
    const server = await startBroker(name, external ? {} : { settings, ...fast })
    started.push(server)
    const { url, title, source } = server
    const restart = async (signal) => {
      await server.signal(signal)
      await server.start()
    }
    const ours = source !== 'external' && source !== 'docker'
    return { url, title, source, pid: () => (ours ? server.pid : undefined), restart: ours ? restart : undefined, command: server.command }
  } catch (error) {
    if (!(error instanceof BrokerMissing)) throw error
    process.stderr.write(`${error.message}\n`)
    return undefined
  }
}

try {
  process.exitCode = await bench(process.argv.slice(2), start)
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`)
  process.exitCode = 1
} finally {
  for (const server of started) await server.stop()
}
