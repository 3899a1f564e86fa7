// Brings a checkout from "cloned" to "ready": the pinned pnpm, the dependencies of the lockfile, the build. What is up to date
// is skipped. Needs Node and npm and nothing else, and changes nothing outside the checkout but the package managers' caches.
// Progress goes to stderr, so that the output of what runs afterwards can be piped.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run, runNode } from './lib/process.mjs'
import { filesBelow, members, root } from './lib/workspace.mjs'

const installStamp = join(root, 'node_modules', '.posthorn-install')
const buildStamp = join(root, '.cache', 'build-stamp')

/** Ends the process with one line for people. */
function refuse(text) {
  process.stderr.write(`\n${text.trimEnd()}\n`)
  process.exit(1)
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  refuse(`Posthorn needs Node 20.19 or newer; this is ${process.versions.node} (${process.execPath}).`)
}

/** Runs one part, showing its name and then its time on the same line. */
async function part(title, work) {
  const started = performance.now()
  process.stderr.write(`set-up: ${title} … `)
  await work()
  process.stderr.write(`${((performance.now() - started) / 1000).toFixed(1)} s\n`)
}

const offline = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ERR_SOCKET_TIMEOUT|META_FETCH_FAIL|ERR_PNPM_NO_OFFLINE/
function explain(what, output) {
  const cause = offline.test(output)
    ? '\nThe package registry cannot be reached. Set-up needs it once; check the network or the proxy and start again.'
    : ''
  return `${what} failed.${cause}\n${output.trim().split('\n').slice(-30).join('\n')}`
}

/** The pinned pnpm, fetched by npm into `.cache` and compared with the hash in package.json; returns its script. */
export async function pinnedPnpm() {
  const pinned = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).packageManager
  const [, version, hash] =
    /^pnpm@([^+]+)\+sha512\.([0-9a-f]+)$/.exec(pinned) ?? refuse('package.json: packageManager must be pnpm@version+sha512.hash')
  const folder = join(root, '.cache', `pnpm-${version}`)
  const script = join(folder, 'node_modules', 'pnpm', 'bin', 'pnpm.cjs')
  const verified = join(folder, 'verified')
  if (existsSync(script) && existsSync(verified)) return script
  await part(`pnpm ${version}`, async () => {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
    const flags = [
      '--no-audit',
      '--no-fund',
      '--ignore-scripts',
      '--no-update-notifier',
      '--loglevel=error',
      '--fetch-retry-mintimeout=1000',
    ]
    const { code, output } = await run('npm', ['install', `pnpm@${version}`, '--save-exact', ...flags], { cwd: folder, env: withoutNpm() })
    if (code !== 0) refuse(explain(`npm install pnpm@${version}`, output))
    const lock = JSON.parse(readFileSync(join(folder, 'node_modules', '.package-lock.json'), 'utf8'))
    const integrity = lock.packages['node_modules/pnpm'].integrity
    const expected = `sha512-${Buffer.from(hash, 'hex').toString('base64')}`
    if (integrity !== expected) refuse(`pnpm ${version} is not what package.json pins: ${integrity} instead of ${expected}`)
    writeFileSync(verified, '')
  })
  return script
}

/** The environment without what a surrounding `npm test` says about the folder it was started in. */
export function withoutNpm() {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^npm_(config_(local_|global_)?prefix|package_|lifecycle_)/.test(name)),
  )
}

function dependenciesHash() {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch} ${process.versions.node.split('.')[0]}`)
  const manifests = members().map(({ folder }) => `${folder}/package.json`)
  for (const file of ['pnpm-lock.yaml', 'pnpm-workspace.yaml', 'package.json', ...manifests]) hash.update(readFileSync(join(root, file)))
  return hash.digest('hex')
}

const read = (file) => (existsSync(file) ? readFileSync(file, 'utf8') : '')

/** Installs what the lockfile names, unless that is what is installed. Ends the process with a reason when it cannot. */
export async function install() {
  checkNode()
  const wanted = dependenciesHash()
  if (read(installStamp) === wanted) return
  const pnpm = await pinnedPnpm()
  await part('dependencies', async () => {
    const flags = ['--frozen-lockfile', '--prefer-offline', '--prod=false', '--config.confirmModulesPurge=false', '--reporter=append-only']
    const { code, output } = await runNode([pnpm, 'install', ...flags], { env: withoutNpm() })
    if (code !== 0) refuse(explain('pnpm install', output))
    writeFileSync(installStamp, wanted)
  })
}

function sourcesHash() {
  const hash = createHash('sha256').update(read(installStamp))
  const configs = filesBelow(root, '.', (file) => /^(packages\/[^/]+\/)?(tsconfig[^/]*|package)\.json$/.test(file))
  const sources = filesBelow(root, 'packages', (file) => /^packages\/[^/]+\/src\//.test(file))
  for (const file of [...configs, ...sources]) {
    const { mtimeMs, size } = statSync(join(root, file))
    hash.update(`${file} ${mtimeMs} ${size}\n`)
  }
  return hash.digest('hex')
}

/** Folders of the packages that are compiled. */
const compiled = () =>
  members()
    .map(({ folder }) => folder)
    .filter((folder) => existsSync(join(root, folder, 'tsconfig.json')) && filesBelow(root, `${folder}/src`).length > 0)
const lacksOutput = () => compiled().some((folder) => !existsSync(join(root, folder, 'dist')))

/** Is `dist` what the sources say? */
export function isBuilt() {
  return read(buildStamp) === sourcesHash() && !lacksOutput()
}

/** Removes what was compiled from a source that is gone, so that nothing can import it any more. */
function removeLeftovers() {
  for (const folder of compiled()) {
    const dist = join(root, folder, 'dist')
    for (const name of existsSync(dist) ? readdirSync(dist, { recursive: true }) : []) {
      const [, stem] = /^(.*?)(?:\.d\.ts|\.js)(?:\.map)?$/.exec(name) ?? []
      if (stem !== undefined && !existsSync(join(root, folder, 'src', `${stem}.ts`))) rmSync(join(dist, name))
    }
  }
}

/** Compiles the packages, unless they are compiled. Returns the compiler's exit code and output. */
export async function build() {
  if (isBuilt()) return { code: 0, output: 'up to date\n' }
  // Taken before compiling: a file saved meanwhile makes the next set-up compile again.
  const sources = sourcesHash()
  // The compiler believes its own notes about what it wrote; a folder that was deleted must be said.
  const force = lacksOutput() ? ['--force'] : []
  const result = await runNode([join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-b', ...force])
  removeLeftovers()
  mkdirSync(join(root, '.cache'), { recursive: true })
  if (result.code === 0) writeFileSync(buildStamp, sources)
  return result
}

/** All of it; ends the process with a reason when it cannot. */
export async function setup() {
  await install()
  if (isBuilt()) return
  await part('build', async () => {
    const { code, output } = await build()
    if (code !== 0) refuse(`the packages do not compile:\n${output}`)
  })
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await setup()
  process.stderr.write('set-up: ready. next: npm run demo, npm test\n')
}
