// Debian's packages without root: apt with a state of its own fetches what is missing, dpkg unpacks it into a folder, and nothing is
// installed. What the system has already stays the system's.
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { run } from '../lib/process.mjs'
import { cacheFolder, withLock } from './cache.mjs'

const indexMaxAgeMs = 3_600_000

/** The program of this name on the PATH or where system programs are, or undefined. */
export function onPath(name) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin', '/opt/homebrew/bin']
  return folders
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find((file) => existsSync(file))
}

/** Why packages cannot be unpacked here, or undefined when they can. */
export function aptObstacle() {
  if (process.platform !== 'linux') return 'packages are unpacked on Debian and its relatives only'
  const missing = ['apt-get', 'dpkg'].filter((name) => onPath(name) === undefined)
  return missing.length > 0 ? `packages cannot be unpacked without ${missing.join(' and ')}` : undefined
}

/** Folders of shared libraries of what was unpacked into `folder`, for LD_LIBRARY_PATH. */
export function libraryPath(folder) {
  const triples = ['usr/lib', 'lib'].flatMap((lib) => {
    const base = join(folder, lib)
    return existsSync(base)
      ? readdirSync(base)
          .filter((name) => name.includes('-linux-'))
          .map((name) => join(base, name))
      : []
  })
  return [...triples, process.env.LD_LIBRARY_PATH].filter((path) => path !== undefined && path !== '').join(':')
}

const lastLines = (output) => output.trim().split('\n').slice(-12).join('\n')

async function must(command, args) {
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' }
  const { code, output } = await run(command, args, { env, timeoutMs: 300_000 })
  if (code !== 0) throw new Error(`${command} ${args.at(-1)} failed:\n${lastLines(output)}`)
  return output
}

/** Fetches packages and what they need beyond the system's, and unpacks all of it into `folder`. Answers what was unpacked. */
export function unpackPackages(packages, folder) {
  return withLock('apt', async () => {
    const base = cacheFolder('apt')
    const archives = join(base, 'cache', 'archives')
    const refreshed = join(base, 'state', 'refreshed')
    for (const path of [join(base, 'state', 'lists', 'partial'), join(archives, 'partial')]) mkdirSync(path, { recursive: true })
    const options = [
      'Debug::NoLocking=1',
      `Dir::State=${join(base, 'state')}`,
      'Dir::State::status=/var/lib/dpkg/status',
      `Dir::Cache=${join(base, 'cache')}`,
      `Dir::Log=${base}`,
      // Another user could not read a private folder.
      'APT::Sandbox::User=',
      'APT::Update::Post-Invoke-Success::=',
      'Acquire::Languages=none',
      'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false',
      'Acquire::Retries=3',
      'Acquire::http::Timeout=30',
      'Acquire::https::Timeout=30',
    ].flatMap((option) => ['-o', option])
    const update = async () => {
      await must('apt-get', ['-q', ...options, 'update'])
      writeFileSync(refreshed, '')
    }
    const install = () => must('apt-get', ['-q', ...options, 'install', '-y', '--no-install-recommends', '--download-only', ...packages])
    const isFresh = existsSync(refreshed) && Date.now() - statSync(refreshed).mtimeMs < indexMaxAgeMs
    try {
      if (!isFresh) await update()
      await install()
    } catch {
      // A stale index names files that are gone, and a source that answers no more need not concern us: once more from the start.
      await update().catch(() => {})
      await install()
    }
    const debs = readdirSync(archives).filter((name) => name.endsWith('.deb'))
    if (debs.length === 0) throw new Error(`${packages.join(' ')} is installed already, but not where it was looked for`)
    for (const deb of debs) await must('dpkg', ['-x', join(archives, deb), folder])
    rmSync(archives, { recursive: true, force: true })
    writeFileSync(join(folder, 'packages.txt'), `${debs.sort().join('\n')}\n`)
    return debs
  })
}
