// `npm run bench -- memory`: set-up, then the benchmark. Arguments go to it; its exit code is ours.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { runNode } from './lib/process.mjs'
import { root } from './lib/workspace.mjs'
import { setup } from './setup.mjs'

const script = join(root, 'packages', 'bench', 'dist', 'main.js')
await setup()
if (!existsSync(script)) {
  process.stderr.write('this checkout has no packages/bench/src/main.ts\n')
  process.exit(1)
}
process.exitCode = (await runNode(['--expose-gc', script, ...process.argv.slice(2)], { live: true, cwd: process.cwd() })).code
