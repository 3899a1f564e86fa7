// Who may import what. Sources follow the table; tests and examples may use whatever their package declares; nobody reaches
// past a package's `exports`.
import { dirname, join, normalize } from 'node:path'
import { imports, parse, problemAt, typescriptFiles } from '../lib/source.mjs'
import { members } from '../lib/workspace.mjs'

/** What the sources of a package may import beside `node:` and their own files; the first pattern that fits its name decides. */
const table = [
  [/^@posthorn\/core$/, []],
  [/^@posthorn\/conformance$/, [/^@posthorn\/core(\/|$)/]],
  [/^@posthorn\/(kafka|rabbitmq|redis|mqtt)$/, [/^@posthorn\/core\/adapter$/, 'client']],
  [/^posthorn$/, [/^@posthorn\/core(\/|$)/]],
  [/^@posthorn\/(inversify|otel)$/, [/^@posthorn\/core(\/|$)/, 'dependencies', 'client']],
  [/^/, ['dependencies']],
]

/** What tests of every package may import beside it: real servers by name. */
const forTests = 'tools/brokers/index.mjs'

const nameOf = (specifier) => specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')

function declares({ dependencies, devDependencies, peerDependencies }, name, withDev) {
  return [dependencies, peerDependencies, withDev ? devDependencies : undefined].some((list) => list?.[name] !== undefined)
}

/** `import type {} from '…'` takes no name: it lets a module add to the types of another one. */
const takesNothing = ({ importClause }) => importClause?.isTypeOnly === true && importClause.namedBindings?.elements?.length === 0

function allows(rule, specifier, name, { dependencies, peerDependencies }) {
  if (rule === 'dependencies') return dependencies?.[name] !== undefined
  // What an adapter speaks to its server with, or what a package fits into; the application chooses its version.
  if (rule === 'client') return !name.startsWith('@posthorn/') && peerDependencies?.[name] !== undefined
  return rule.test(specifier)
}

function explain({ specifier, node }, file, { folder, manifest }, packages) {
  const inSource = file.startsWith(`${folder}/src/`) && folder.startsWith('packages/')
  if (specifier.startsWith('.')) {
    const target = normalize(join(dirname(file), specifier)).replaceAll('\\', '/')
    if (target === forTests && file.startsWith(`${folder}/test/`)) return undefined
    if (!target.startsWith(`${folder}/`)) return 'a relative import stays in its own package; import the other one by name'
    if (inSource && !target.startsWith(`${folder}/src/`) && !target.endsWith('package.json')) return 'sources import sources only'
    return /\.(m?ts|json)$/.test(specifier) ? undefined : 'a relative import names the file with its ending .ts'
  }
  if (specifier.startsWith('node:')) return undefined
  const name = nameOf(specifier)
  const target = packages.find((member) => member.manifest.name === name)?.manifest
  const entry = specifier === name ? '.' : `.${specifier.slice(name.length)}`
  if (target !== undefined && target.exports?.[entry] === undefined) return `"${specifier}" is not an entry point of ${name}`
  if (target === manifest) return inSource ? 'sources import each other by relative path' : undefined
  if (!declares(manifest, name, !inSource)) return `${name} is not among the dependencies of ${manifest.name}`
  if (!inSource || takesNothing(node)) return undefined
  const [, allowed] = table.find(([pattern]) => pattern.test(manifest.name))
  return allowed.some((rule) => allows(rule, specifier, name, manifest)) ? undefined : `${manifest.name} does not import ${specifier}`
}

export function check(base) {
  const packages = members(base)
  const problems = []
  const files = typescriptFiles(base)
  for (const file of files) {
    const owner = packages.find(({ folder }) => file.startsWith(`${folder}/`))
    if (owner === undefined) continue
    const tree = parse(base, file)
    for (const found of imports(tree)) {
      const text = explain(found, file, owner, packages)
      if (text !== undefined) problems.push(problemAt(tree, found.node, text))
    }
  }
  return { examined: files.length, problems }
}
