// `node tools/api.mjs --write` writes the list of public names of every entry point; without it the lists are printed.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from './lib/workspace.mjs'
import { install } from './setup.mjs'

await install()
const { listFile, listText, namesOf, program } = await import('./lib/api.mjs')
const compiled = program(root)
for (const { entry, source, member } of compiled.entries) {
  const names = namesOf({ ...compiled, base: root, source })
  if (names === null) continue
  const file = listFile(member, entry)
  const values = names.filter(({ kind }) => kind !== 'type').length
  process.stdout.write(`${file}: ${values} values, ${names.length - values} types\n`)
  if (process.argv.includes('--write')) {
    mkdirSync(dirname(join(root, file)), { recursive: true })
    writeFileSync(join(root, file), listText(names))
  } else process.stdout.write(listText(names).replace(/^/gm, '  ').trimEnd().concat('\n'))
}
