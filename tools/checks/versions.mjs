// Third-party versions are written once, in the catalog of pnpm-workspace.yaml.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { filesBelow } from '../lib/workspace.mjs'

const lists = ['dependencies', 'devDependencies', 'peerDependencies', 'optionalDependencies']

export function check(base) {
  const files = filesBelow(base, '.', (file) => /(^|\/)package\.json$/.test(file))
  const problems = []
  for (const file of files) {
    const text = readFileSync(join(base, file), 'utf8')
    const manifest = JSON.parse(text)
    for (const [name, version] of lists.flatMap((list) => Object.entries(manifest[list] ?? {}))) {
      const own = /^(@posthorn\/|posthorn$)/.test(name)
      if (own ? version.startsWith('workspace:') : version === 'catalog:') continue
      const line = text.slice(0, text.indexOf(`"${name}"`)).split('\n').length
      problems.push({ file, line, text: `${name} is "${version}"; write "${own ? 'workspace:*' : 'catalog:'}"` })
    }
  }
  return { examined: files.length, problems }
}
