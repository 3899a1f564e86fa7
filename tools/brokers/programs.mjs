// Programs in other languages, built once from their sources and kept in the project's cache. What they need is fetched by the
// language's own package manager.
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { run } from '../lib/process.mjs'
import { filesBelow } from '../lib/workspace.mjs'
import { onPath } from './apt.mjs'
import { cacheFolder, fill, withLock } from './cache.mjs'
import { pythonWith } from './python.mjs'

/** A language that is not installed here, or whose packages cannot be had. */
export class LanguageMissing extends Error {
  constructor(language, reason) {
    super(`no ${language} here: ${reason}`)
    this.name = 'LanguageMissing'
    this.code = 'LANGUAGE_MISSING'
  }
}

const lastLines = (output) => output.trim().split('\n').slice(-12).join('\n')
const fetchMs = 300_000
/** What package managers say when they reach nobody. */
const offline =
  /could not (?:resolve|transfer|find)|no such host|dial tcp|unknown host|connection refused|timed? ?out|network is unreachable/i

async function versionOf(language, command, args, form) {
  const file = onPath(command)
  if (file === undefined) throw new LanguageMissing(language, `there is no ${command}`)
  const { code, output } = await run(file, args, { cwd: '/', timeoutMs: 30_000 })
  const found = form.exec(output)
  if (code !== 0 || found === null) throw new LanguageMissing(language, `${command} ${args.join(' ')} says: ${lastLines(output)}`)
  return found[1]
}

/** A folder of the cache that `build` fills from a copy of the sources, once for these sources and this version. */
async function built(language, version, sources, build) {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch} ${version}`)
  const files = filesBelow(sources)
  for (const file of files) hash.update(`\n${file}\n`).update(readFileSync(join(sources, file)))
  const name = `${language}-${hash.digest('hex').slice(0, 16)}`
  const parent = cacheFolder('programs')
  const target = join(parent, name)
  if (existsSync(target)) return target
  return await withLock(name, async () => {
    if (existsSync(target)) return target
    mkdirSync(parent, { recursive: true })
    return await fill(parent, async (fresh) => {
      const copy = join(fresh, 'sources')
      for (const file of files) {
        mkdirSync(dirname(join(copy, file)), { recursive: true })
        cpSync(join(sources, file), join(copy, file))
      }
      await build(copy, fresh)
      return name
    })
  })
}

async function must(language, command, args, options) {
  const { code, output } = await run(onPath(command), args, { timeoutMs: fetchMs, ...options })
  if (code === 0) return
  const text = `${command} ${args.join(' ')} failed:\n${lastLines(output)}`
  throw offline.test(output) ? new LanguageMissing(language, text) : new Error(text)
}

async function python(folder) {
  await versionOf('python', 'python3', ['--version'], /Python (3\.\d+)/)
  const packages = readFileSync(join(folder, 'requirements.txt'), 'utf8').trim().split('\n')
  const program = await pythonWith(packages).catch((error) => {
    throw new LanguageMissing('python', error.message)
  })
  return { run: [program, join(folder, 'main.py')], check: [program, join(folder, 'check.py')] }
}

async function go(folder) {
  const version = await versionOf('go', 'go', ['version'], /go(\d+\.\d+\S*)/)
  const wanted = /^go (\d+)\.(\d+)/m.exec(readFileSync(join(folder, 'go.mod'), 'utf8'))
  const [major, minor] = version.split('.').map(Number.parseFloat)
  if (major < Number(wanted[1]) || (major === Number(wanted[1]) && minor < Number(wanted[2])))
    throw new LanguageMissing('go', `it is Go ${version}, and ${wanted[1]}.${wanted[2]} is needed`)
  const target = await built('go', version, folder, async (sources, fresh) => {
    // Neither a C compiler nor another Go is fetched or used.
    const env = { ...process.env, CGO_ENABLED: '0', GOTOOLCHAIN: 'local', GOWORK: 'off', GOFLAGS: '' }
    await must('go', 'go', ['mod', 'download'], { cwd: sources, env })
    const args = ['build', '-trimpath', '-buildvcs=false', '-ldflags=-s -w', '-o', join(fresh, 'polyglot'), '.']
    await must('go', 'go', args, { cwd: sources, env })
  })
  const program = join(target, 'polyglot')
  return { run: [program], check: [program, 'check'] }
}

async function java(folder) {
  const version = await versionOf('java', 'javac', ['-version'], /javac (\d+\S*)/)
  if (Number.parseInt(version, 10) < 17) throw new LanguageMissing('java', `it is Java ${version}, and 17 is needed`)
  await versionOf('java', 'mvn', ['-v'], /Maven (\d+\.\d+\S*)/)
  const target = await built('java', version, folder, async (sources, fresh) => {
    await must('java', 'mvn', ['-q', '-B', '-ntp', 'package'], { cwd: sources })
    renameSync(join(sources, 'target'), join(fresh, 'target'))
  })
  // Quick to start: these programs run for a second or two.
  const quick = ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xmx128m']
  const program = [onPath('java'), ...quick, '-jar', join(target, 'target', 'polyglot.jar')]
  return { run: program, check: [...program, 'check'] }
}

const languages = { python, go, java }

export async function polyglotProgram(language, folder) {
  if (!Object.hasOwn(languages, language)) throw new LanguageMissing(language, `known are ${Object.keys(languages).join(', ')}`)
  return await languages[language](folder)
}
