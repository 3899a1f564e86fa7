// `npm run generate`: writes the generated tables of README and docs. The check `generated` fails while one is out of date.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './lib/workspace.mjs'
import { install } from './setup.mjs'

await install()
const { generate } = await import('./lib/tables.mjs')
for (const { file, before, after } of await generate(root)) {
  if (after !== before) writeFileSync(join(root, file), after)
  process.stdout.write(`${file}: ${after === before ? 'up to date' : 'written'}\n`)
}
