// `node tools/run.mjs tsc -b`: runs an installed program after set-up, in the root. Its exit code is the program's.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './lib/process.mjs'
import { root } from './lib/workspace.mjs'
import { install } from './setup.mjs'

const [name, ...args] = process.argv.slice(2)
if (name === undefined) {
  process.stderr.write('usage: node tools/run.mjs PROGRAM [ARGUMENTS]\n')
  process.exit(2)
}
await install()
const bin = join(root, 'node_modules', '.bin', process.platform === 'win32' ? `${name}.CMD` : name)
if (!existsSync(bin)) {
  process.stderr.write(`${name} is not among the installed programs of the workspace\n`)
  process.exit(2)
}
process.exitCode = (await run(bin, args, { live: true })).code
