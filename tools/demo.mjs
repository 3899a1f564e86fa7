// `npm run demo -- --broker redis`, or `POSTHORN_BROKER=redis npm run demo`: set-up, the real server that is named, then the order and
// notification example on it; without a name, on the embedded broker. Arguments go to the demo; its exit code is ours.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { placeOf, withBroker } from './lib/demo-broker.mjs'
import { runNode } from './lib/process.mjs'
import { root } from './lib/workspace.mjs'
import { setup } from './setup.mjs'

const script = join(root, 'examples', 'order-notification', 'src', 'demo.ts')

await setup()
if (!existsSync(script)) {
  process.stderr.write('this checkout has no examples/order-notification/src/demo.ts\n')
  process.exit(1)
}
const args = withBroker(process.argv.slice(2), process.env)
const env = { ...process.env }
const place = args.includes('--help') || args.includes('-h') ? -1 : placeOf(args)
let server
try {
  if (place !== -1) {
    const { startBroker } = await import('./brokers/index.mjs')
    server = await startBroker(args[place].replace('--broker=', ''))
    process.stderr.write(`broker: ${server.title} (${server.source}, ${server.profile}), port ${server.port}\n`)
    args[place] = args[place].startsWith('--broker=') ? `--broker=${server.url}` : server.url
    env.POSTHORN_DEMO_SERVER = server.title
  }
  const tsx = pathToFileURL(join(root, 'node_modules', 'tsx', 'dist', 'loader.mjs')).href
  process.exitCode = (await runNode(['--import', tsx, script, ...args], { live: true, cwd: process.cwd(), env })).code
} catch (error) {
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
} finally {
  await server?.stop()
}
