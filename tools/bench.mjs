// `npm run bench -- redis rabbitmq`: set-up, a server for every real broker that is named, then the benchmark. Arguments go to
// it; its exit code is ours.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { runNode } from './lib/process.mjs'
import { root } from './lib/workspace.mjs'
import { setup } from './setup.mjs'

const script = join(root, 'packages', 'bench', 'dist', 'main.js')
const args = process.argv.slice(2)
await setup()
if (!existsSync(script)) {
  process.stderr.write('this checkout has no packages/bench/src/main.ts\n')
  process.exit(1)
}
const help = args.includes('--help') || args.includes('-h')
const named = ['redis', 'rabbitmq', 'kafka', 'mqtt'].filter((name) => args.includes(name) && !help)
const started = []
try {
  const servers = {}
  for (const name of named) {
    const { startBroker } = await import('./brokers/index.mjs')
    // A Java machine is told to compile for speed.
    const server = await startBroker(name, name === 'kafka' ? { fast: true } : {})
    started.push(server)
    const { url, title, profile, source } = server
    servers[name] = { url, title, profile, source }
  }
  const env = { ...process.env, POSTHORN_BENCH_SERVERS: JSON.stringify(servers) }
  process.exitCode = (await runNode(['--expose-gc', script, ...args], { live: true, cwd: process.cwd(), env })).code
} catch (error) {
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
} finally {
  for (const server of started) await server.stop()
}
