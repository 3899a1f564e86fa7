// A new public name is a visible line in a diff: the committed lists are what the entry points export, stay in their budgets,
// and every name says in a comment what it does.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { listFile, listText, namesOf, program } from '../lib/api.mjs'

const budgets = {
  '@posthorn/core .': { values: 12, types: 45 },
  '@posthorn/core ./adapter': { names: 32 },
}

export function check(base) {
  const compiled = program(base)
  const problems = []
  for (const { entry, source, member } of compiled.entries) {
    const names = namesOf({ ...compiled, base, source })
    const file = listFile(member, entry)
    if (names === null) {
      problems.push({ file: source, line: 1, text: `the entry point "${entry}" of ${member.manifest.name} does not exist` })
      continue
    }
    const listed = existsSync(join(base, file)) ? readFileSync(join(base, file), 'utf8') : ''
    const actual = listText(names)
    const before = new Set(listed.split('\n'))
    const after = new Set(actual.split('\n'))
    const added = [...after].filter((line) => !before.has(line))
    const gone = [...before].filter((line) => !after.has(line))
    if (listed !== actual) {
      const difference = [...added.map((line) => `+ ${line}`), ...gone.map((line) => `- ${line}`)].join(', ') || 'the order'
      problems.push({ file, line: 1, text: `is not what "${entry}" exports (${difference}); node tools/api.mjs --write` })
    }
    for (const { name, documented } of names) {
      if (!documented) problems.push({ file: source, line: 1, text: `${name} has no comment that says what it does for the caller` })
    }
    const values = names.filter(({ kind }) => kind !== 'type').length
    const sizes = { values, types: names.length - values, names: names.length }
    for (const [what, most] of Object.entries(budgets[`${member.manifest.name} ${entry}`] ?? {})) {
      if (sizes[what] > most)
        problems.push({ file, line: 1, text: `${sizes[what]} ${what} in "${entry}"; at most ${most}: which one could go?` })
    }
  }
  return { examined: compiled.entries.length, problems }
}
