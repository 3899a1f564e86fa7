// The packages as a user gets them. `node tools/pack.mjs core redis` packs these and prints where, for `npm install $(…)` in a folder of
// yours. Without names all are packed, installed with npm into an empty folder, imported, required and type-checked there, and the
// programs of docs/guide.md and the command line run beside them.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { pageBlocks } from './lib/blocks.mjs'
import { sentence } from './lib/counts.mjs'
import { run, runNode } from './lib/process.mjs'
import { ts } from './lib/source.mjs'
import { members, root } from './lib/workspace.mjs'
import { install, pinnedPnpm, setup, withoutNpm } from './setup.mjs'

const shipped = /^(auditors\/\w+\.(py|erl)|dist\/.+\.(js|d\.ts)(\.map)?|package\.json|README\.md|LICENSE)$/
const lists = ['dependencies', 'peerDependencies', 'optionalDependencies']

const packages = members().filter(({ manifest }) => manifest.private !== true)
const asked = process.argv.slice(2)
if (asked.length > 0) {
  await printTarballs(asked)
  process.exit()
}

await install()
const pnpm = await pinnedPnpm()
const folder = mkdtempSync(join(tmpdir(), 'posthorn-pack-'))
const total = { passed: 0, failed: 0, skipped: 0 }
function verdict(title, problems) {
  total[problems.length === 0 ? 'passed' : 'failed'] += 1
  process.stdout.write(`${problems.length === 0 ? 'ok  ' : 'FAIL'}  ${title}\n${problems.map((text) => `      ${text}\n`).join('')}`)
}

/** Builds and packs the packages of these names, short or long, and prints their tarballs: one line each, and nothing else on stdout. */
async function printTarballs(names) {
  const shortName = ({ manifest }) => manifest.name.replace('@posthorn/', '')
  const unknown = names.find((name) => !packages.some((member) => [shortName(member), member.manifest.name].includes(name)))
  if (unknown !== undefined) {
    process.stderr.write(`there is no package "${unknown}". there are ${packages.map(shortName).join(', ')}\n`)
    process.exit(2)
  }
  await setup()
  const place = join(root, '.cache', 'packed')
  mkdirSync(place, { recursive: true })
  const script = await pinnedPnpm()
  for (const member of packages.filter((each) => names.includes(shortName(each)) || names.includes(each.manifest.name))) {
    process.stdout.write(`${(await packed(script, member, place)).filename}\n`)
  }
}

async function packed(script, { folder: path }, place) {
  const args = [script, 'pack', '--json', '--pack-destination', place]
  const { code, output } = await runNode(args, { cwd: join(root, path), env: withoutNpm() })
  if (code !== 0) throw new Error(output)
  return JSON.parse(output.slice(output.indexOf('{')))
}

/** Packs one package and judges what is in it; returns the tarball. */
async function pack(member) {
  const { manifest } = member
  const { filename, files } = await packed(pnpm, member, folder)
  const names = files.map((file) => file.path)
  const targets = Object.values(manifest.exports).flatMap((target) =>
    typeof target === 'string' ? [target] : [target.types, target.default],
  )
  const wanted = ['package.json', ...[...targets, ...Object.values(manifest.bin ?? {})].map((target) => target.slice(2))]
  const strange = names.filter((name) => !shipped.test(name)).map((name) => `it ships ${name}`)
  const missing = wanted.filter((name) => !names.includes(name)).map((name) => `it lacks ${name}`)
  verdict(`${manifest.name} ships ${names.length} files, what it needs and nothing else`, [...strange, ...missing])
  return filename
}

/** What the installed package says about itself. The license is the workspace's own, which packing puts in. */
function judgeInstalled(name) {
  const at = join(folder, 'node_modules', name)
  const manifest = JSON.parse(readFileSync(join(at, 'package.json'), 'utf8'))
  const all = lists.flatMap((list) => Object.entries(manifest[list] ?? {}))
  const unresolved = all.filter(([, version]) => /^(workspace|catalog):/.test(version))
  const problems = unresolved.map(([dependency, version]) => `${dependency} is "${version}"`)
  if (!existsSync(join(at, 'LICENSE'))) problems.push('it has no LICENSE')
  verdict(`${name} names real versions of what it needs and carries its license`, problems)
}

/** Imports and requires one entry point in processes of their own. */
async function judgeEntry(specifier) {
  const asModule = `const names = Object.keys(await import('${specifier}')); if (names.length === 0) throw new Error('exports nothing')`
  const imported = await runNode(['--input-type=module', '-e', asModule], { cwd: folder })
  verdict(`${specifier} can be imported`, imported.code === 0 ? [] : [imported.output.trim()])
  const asScript = `if (Object.keys(require('${specifier}')).length === 0) throw new Error('exports nothing')`
  const required = await runNode(['--input-type=commonjs', '--no-warnings', '-e', asScript], { cwd: folder })
  verdict(`${specifier} can be required from CommonJS`, required.code === 0 ? [] : [required.output.trim()])
}

/** Do the published types compile for users of this module resolution? Their own errors count, not those of other packages. */
function judgeTypes(specifiers, title, extension, options) {
  const file = join(folder, `user-${title}.${extension}`)
  writeFileSync(
    file,
    specifiers.map((one, index) => `import * as entry${index} from '${one}'\nexport const used${index} = entry${index}\n`).join(''),
  )
  const target = { target: ts.ScriptTarget.ES2022, lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'], strict: true, noEmit: true }
  const types = { types: ['node'], typeRoots: [join(root, 'node_modules', '@types')], exactOptionalPropertyTypes: true }
  const program = ts.createProgram({ rootNames: [file], options: { ...target, ...types, ...options } })
  const found = ts
    .getPreEmitDiagnostics(program)
    .filter(({ file: place }) => place === undefined || /user-|node_modules\/(@posthorn|posthorn)\//.test(place.fileName))
  const texts = found.map(
    ({ file: place, messageText }) => `${place?.fileName.slice(folder.length + 1)}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
  )
  verdict(`the types compile with ${title} resolution`, texts.slice(0, 10))
}

/** The programs of docs/guide.md, as somebody who follows it has them: on the embedded broker, and without one where they need a server. */
async function judgeGuide() {
  const blocks = pageBlocks(root, 'docs/guide.md').map((block) => ({ ...block, name: block.file.split('/').at(-1) }))
  for (const { name, text } of blocks) writeFileSync(join(folder, name), `${text}\n`)
  const loader = pathToFileURL(join(root, 'node_modules', 'tsx', 'dist', 'loader.mjs')).href
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(POSTHORN_|BROKER_URL$)/.test(name)))
  for (const { name, output: wanted } of blocks.filter(({ run: runs }) => runs)) {
    const { code, output } = await runNode(['--import', loader, name], { cwd: folder, env, timeoutMs: 30_000 })
    const right = code === 0 && (wanted === undefined || output.trim() === wanted.trim())
    verdict(`${name} of the guide does what the guide says`, right ? [] : [output.trim()])
  }
  for (const name of ['place-order.mts', 'email-service.mts']) {
    const { code, output } = await runNode(['--import', loader, name], { cwd: folder, env, timeoutMs: 30_000 })
    const right = code !== 0 && /POSTHORN_BROKER is not set/.test(output)
    verdict(`${name} of the guide refuses to start without a server, and says what to set`, right ? [] : [output.trim()])
  }
}

/** The command line as npx runs it in the user's folder: it finds configuration and adapters there, and no server is asked. */
async function judgeCommandLine() {
  const own = Object.fromEntries(Object.entries(withoutNpm()).filter(([name]) => !name.startsWith('POSTHORN_')))
  const list = ['dlq', 'list', '--topic', 'orders', '--group', 'email']
  const cases = [
    ['shows its help', ['dlq', 'replay', '--help'], {}, 0, /usage: posthorn dlq replay/],
    ['refuses to start without a configuration', list, {}, 2, /POSTHORN_BROKER is not set/],
    ['refuses the embedded broker', list, { POSTHORN_BROKER: 'memory' }, 2, /in the memory of the process/],
    ['loads the adapter of the folder', list, { POSTHORN_BROKER: 'redis://localhost?unheardOf=1' }, 2, /unheardOf/],
  ]
  for (const [title, args, env, wanted, pattern] of cases) {
    const { code, output } = await run('npx', ['--no-install', 'posthorn', ...args], { cwd: folder, env: { ...own, ...env } })
    verdict(`npx posthorn ${title}`, code === wanted && pattern.test(output) ? [] : [`it ended with ${code}: ${output.trim()}`])
  }
}

try {
  mkdirSync(folder, { recursive: true })
  const tarballs = []
  for (const member of packages) tarballs.push(await pack(member))
  writeFileSync(join(folder, 'package.json'), '{ "name": "shop", "version": "1.0.0" }\n')
  const flags = ['--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund', '--legacy-peer-deps', '--loglevel=error']
  // The clients that an application installs beside an adapter.
  const peers = packages.flatMap(({ manifest }) => Object.entries(manifest.peerDependencies ?? {}))
  const clients = peers.filter(([name]) => !name.startsWith('@posthorn/')).map(([name, range]) => `${name}@${range}`)
  const zod = /^ {2}zod: (\S+)$/m.exec(readFileSync(join(root, 'pnpm-workspace.yaml'), 'utf8'))?.[1]
  const { code, output } = await run('npm', ['install', ...tarballs, ...new Set(clients), `zod@${zod}`, ...flags], {
    cwd: folder,
    env: withoutNpm(),
  })
  verdict('npm installs the packages into an empty folder', code === 0 ? [] : [output.trim()])
  if (code === 0) {
    const entries = packages.flatMap(({ manifest }) =>
      Object.keys(manifest.exports)
        .filter((entry) => entry !== './package.json')
        .map((entry) => `${manifest.name}${entry.slice(1)}`),
    )
    for (const { manifest } of packages) judgeInstalled(manifest.name)
    for (const specifier of entries) await judgeEntry(specifier)
    const { ModuleKind, ModuleResolutionKind } = ts
    judgeTypes(entries, 'node16', 'mts', { module: ModuleKind.Node16, moduleResolution: ModuleResolutionKind.Node16 })
    judgeTypes(entries, 'nodenext', 'mts', { module: ModuleKind.NodeNext, moduleResolution: ModuleResolutionKind.NodeNext })
    judgeTypes(entries, 'commonjs', 'cts', { module: ModuleKind.NodeNext, moduleResolution: ModuleResolutionKind.NodeNext })
    judgeTypes(entries, 'bundler', 'ts', { module: ModuleKind.ESNext, moduleResolution: ModuleResolutionKind.Bundler })
    await judgeGuide()
    await judgeCommandLine()
  }
} finally {
  if (existsSync(folder)) rmSync(folder, { recursive: true, force: true })
}
process.stdout.write(`${sentence(total)}\n`)
process.exitCode = total.failed > 0 ? 1 : 0
