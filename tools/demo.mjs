// `npm run demo`: set-up, then the order and notification example on the embedded broker. Arguments go to the demo; its exit code is ours.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { runNode } from './lib/process.mjs'
import { root } from './lib/workspace.mjs'
import { setup } from './setup.mjs'

const script = join(root, 'examples', 'order-notification', 'src', 'demo.ts')
await setup()
if (!existsSync(script)) {
  process.stderr.write('this checkout has no examples/order-notification/src/demo.ts\n')
  process.exit(1)
}
const tsx = pathToFileURL(join(root, 'node_modules', 'tsx', 'dist', 'loader.mjs')).href
const args = ['--import', tsx, script, ...process.argv.slice(2)]
process.exitCode = (await runNode(args, { live: true, cwd: process.cwd() })).code
