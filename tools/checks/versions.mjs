// Third-party versions are written once, in the catalog of pnpm-workspace.yaml. A client that the application installs is the
// exception: its package names the range that was tested, patches of the catalog's version.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { filesBelow } from '../lib/workspace.mjs'

const lists = ['dependencies', 'devDependencies', 'peerDependencies', 'optionalDependencies']

/** Versions by name, out of the catalog. */
function catalog(base) {
  const file = join(base, 'pnpm-workspace.yaml')
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []
  return new Map(
    lines.map((line) => /^ {2}'?([^' ]+?)'?: (\d\S*)$/.exec(line)).flatMap((found) => (found === null ? [] : [[found[1], found[2]]])),
  )
}

export function check(base) {
  const versions = catalog(base)
  const files = filesBelow(base, '.', (file) => /(^|\/)package\.json$/.test(file))
  const problems = []
  for (const file of files) {
    const text = readFileSync(join(base, file), 'utf8')
    const manifest = JSON.parse(text)
    for (const [list, name, version] of lists.flatMap((list) => Object.entries(manifest[list] ?? {}).map((entry) => [list, ...entry]))) {
      const own = /^(@posthorn\/|posthorn$)/.test(name)
      if (own ? version.startsWith('workspace:') : version === 'catalog:') continue
      const wanted = own ? 'workspace:*' : list === 'peerDependencies' && versions.has(name) ? `~${versions.get(name)}` : 'catalog:'
      if (version === wanted) continue
      const line = text.slice(0, text.indexOf(`"${name}"`)).split('\n').length
      problems.push({ file, line, text: `${name} is "${version}"; write "${wanted}"` })
    }
  }
  return { examined: files.length, problems }
}
