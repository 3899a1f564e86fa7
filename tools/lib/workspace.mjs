// Where things are in the repository: its root, its packages, its examples. Nothing here is installed or built.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')

/** What is never looked at: produced, fetched or private to a checkout. */
const produced = new Set(['node_modules', 'dist', '.cache', '.git', 'coverage', 'reports', '.blocks'])

/** Every file below `folder` that is not produced, as paths relative to `base`, sorted. A missing folder has none. */
export function filesBelow(base, folder = '.', accept = () => true) {
  const found = []
  const walk = (path) => {
    const entries = existsSync(join(base, path)) ? readdirSync(join(base, path), { withFileTypes: true }) : []
    for (const entry of entries) {
      if (produced.has(entry.name)) continue
      const next = path === '.' ? entry.name : `${path}/${entry.name}`
      if (entry.isDirectory()) walk(next)
      else if (entry.isFile() && accept(next)) found.push(next)
    }
  }
  walk(folder)
  return found.sort()
}

/** The workspace members below `packages`, `examples` and `docs`, each with its manifest. */
export function members(base = root) {
  const folders = ['packages', 'examples'].flatMap((parent) =>
    existsSync(join(base, parent)) ? readdirSync(join(base, parent)).map((name) => `${parent}/${name}`) : [],
  )
  return [...folders.sort(), 'docs']
    .filter((folder) => existsSync(join(base, folder, 'package.json')))
    .map((folder) => ({ folder, manifest: JSON.parse(readFileSync(join(base, folder, 'package.json'), 'utf8')) }))
}

/** The entry points of a package that point at a source file: `{ entry: './adapter', source: 'packages/core/src/adapter.ts' }`. */
export function entryPoints({ folder, manifest }) {
  return Object.entries(manifest.exports ?? {})
    .filter(([, target]) => typeof target === 'object' && target['@posthorn/source'] !== undefined)
    .map(([entry, target]) => ({ entry, source: join(folder, target['@posthorn/source']) }))
}
