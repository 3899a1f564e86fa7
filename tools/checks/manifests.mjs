// What a published package says about itself, so that it installs, resolves and shows its types everywhere.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { members } from '../lib/workspace.mjs'

function complaints({ folder, manifest }, base) {
  const wrong = []
  const want = (fits, text) => (fits ? undefined : wrong.push(text))
  want(manifest.type === 'module', '"type" is "module"')
  if (manifest.private === true) return wrong
  want(manifest.license === 'Apache-2.0', '"license" is "Apache-2.0"')
  want(manifest.engines?.node === '>=20.19', '"engines" is { "node": ">=20.19" }')
  want(typeof manifest.description === 'string' && manifest.description.length >= 20, '"description" says what the package is for')
  want(manifest.sideEffects === false, '"sideEffects" is false: nothing is registered on import')
  want(Array.isArray(manifest.files) && manifest.files.includes('dist'), '"files" lists "dist"')
  want(!manifest.files?.some((name) => /^(src|test|api)\b/.test(name)), '"files" lists neither sources nor tests')
  want(manifest.exports?.['./package.json'] === './package.json', '"exports" offers "./package.json"')
  want(manifest.main === undefined && manifest.types === undefined, '"exports" alone decides; no "main", no "types"')
  want(
    Object.keys(manifest.scripts ?? {}).every((name) => !/install|prepare/.test(name)),
    'no script runs when it is installed',
  )
  for (const [entry, target] of Object.entries(manifest.exports ?? {})) {
    if (entry === './package.json') continue
    want(typeof target === 'object', `"exports" of "${entry}" has conditions`)
    if (typeof target !== 'object') continue
    const keys = Object.keys(target)
    want(
      keys.join() === '@posthorn/source,types,default',
      `"exports" of "${entry}" has "@posthorn/source", "types" and "default", in this order`,
    )
    const source = target['@posthorn/source'] ?? ''
    want(existsSync(join(base, folder, source)), `"exports" of "${entry}" names ${source}, which does not exist`)
    const built = source.replace('./src/', './dist/')
    want(
      target.types === built.replace(/ts$/, 'd.ts') && target.default === built.replace(/ts$/, 'js'),
      `"exports" of "${entry}" names what is built from ${source}`,
    )
  }
  return wrong
}

export function check(base) {
  const packages = members(base)
  const problems = packages.flatMap((member) =>
    complaints(member, base).map((text) => ({ file: `${member.folder}/package.json`, line: 1, text: `wanted: ${text}` })),
  )
  const versions = new Set(packages.filter(({ manifest }) => manifest.private !== true).map(({ manifest }) => manifest.version))
  if (versions.size > 1)
    problems.push({ file: 'packages', line: 1, text: `all packages have one version, not ${[...versions].join(' and ')}` })
  return { examined: packages.length, problems }
}
