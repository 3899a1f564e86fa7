// The suite is tested: each planted bug must be noticed by the clause that is named for it, and the unchanged build by none.
//
//   node packages/conformance/dist/mutants.js [--only MUT-07,MUT-08] [--seeds N] [--jobs N] [--whole] [--each] [--server redis]
//
// One of the named clauses is enough; with --each every one of them must notice by itself, so that a clause that sees less than
// its page says is found. With --whole a survivor meets the whole suite. With --server the bugs of that adapter are planted, and
// the clauses run on a real server of its own for each; without it they are listed as skipped.
//
// A mutant is patched into the TypeScript source of one file; that file alone is compiled into a copy of the built packages, and
// the command line of the suite runs there. A bug of a real adapter may be noticed by a live test of the adapter's package instead:
// then the patched source is laid out with its tests. The last line is "N passed, N failed, N skipped".

import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { realClock } from './clock.ts'
import { allMutants, needServers, serverMutants } from './mutants/index.ts'
import { isServer, layOutTests, runTests, type Server, servers } from './mutants/live-tests.ts'
import type { Mutant } from './mutants/mutant.ts'

const packages = fileURLToPath(new URL('../../', import.meta.url))
const sources = {
  core: 'core/src',
  memory: 'core/src/memory',
  suite: 'conformance/src',
  redis: 'adapter-redis/src',
  rabbitmq: 'adapter-rabbitmq/src',
  kafka: 'adapter-kafka/src',
  mqtt: 'adapter-mqtt/src',
  cli: 'cli/src',
} as const
const builds = {
  core: 'core/dist',
  memory: 'core/dist/memory',
  suite: 'conformance/dist',
  redis: 'redis/dist',
  rabbitmq: 'rabbitmq/dist',
  kafka: 'kafka/dist',
  mqtt: 'mqtt/dist',
  cli: 'cli/dist',
} as const
/** What an adapter's package and its harness import besides the project's own. */
const clients = { redis: 'ioredis', rabbitmq: 'amqplib', kafka: 'kafkajs', mqtt: 'mqtt' } as const
const childMs = 180_000
const serverMs = 420_000

interface Transpiler {
  transpileModule(text: string, options: { compilerOptions: Record<string, unknown>; fileName: string }): { outputText: string }
  readonly ModuleKind: { readonly ESNext: number }
  readonly ScriptTarget: { readonly ES2023: number }
}
// Only this script compiles, and only in the workspace: the published package does not need a compiler.
const compiler = createRequire(import.meta.url)('typescript') as Transpiler

interface Outcome {
  readonly clauses: readonly { readonly id: string; readonly verdict: string; readonly reason?: string; readonly seed: number }[]
  /** It did not end by itself, or not with a report. */
  readonly broke: string | undefined
}

/** Where the clauses run: on a server, on the embedded broker with the command line in its process, or on that broker alone. */
type Ground = Server | 'cli' | undefined

/** Copies what the suite needs to run into a folder of its own. */
function layOut(folder: string, ground: Ground): void {
  for (const name of ['core', 'conformance']) {
    const target = join(folder, 'node_modules', '@posthorn', name)
    mkdirSync(target, { recursive: true })
    cpSync(join(packages, name, 'package.json'), join(target, 'package.json'))
    const keep = (path: string): boolean => !/\.(?:map|d\.ts|tsbuildinfo)$/.test(path)
    cpSync(join(packages, name, 'dist'), join(target, 'dist'), { recursive: true, filter: keep })
  }
  if (ground === 'cli') layOutCommandLine(folder)
  else if (ground !== undefined) layOutServer(folder, ground)
}

/** The command line with its harness, under which it runs in the suite's process. */
function layOutCommandLine(folder: string): void {
  const modules = join(folder, 'node_modules')
  for (const part of ['package.json', 'dist', 'test'])
    cpSync(join(packages, 'cli', part), join(modules, '@posthorn', 'cli', part), { recursive: true })
  symlinkSync(realpathSync(join(packages, '..', 'node_modules', 'tsx')), join(modules, 'tsx'))
}

/** The adapter with its harness, beside it the launcher and the client library as they are. */
function layOutServer(folder: string, server: Server): void {
  const modules = join(folder, 'node_modules')
  const from = join(packages, `adapter-${server}`)
  const target = join(modules, '@posthorn', server)
  mkdirSync(target, { recursive: true })
  for (const part of ['package.json', 'src', 'dist', 'test/conformance']) cpSync(join(from, part), join(target, part), { recursive: true })
  cpSync(join(packages, 'conformance', 'auditors'), join(modules, '@posthorn', 'conformance', 'auditors'), { recursive: true })
  const links = [
    [join(packages, '..', 'tools'), 'tools'],
    [join(from, 'node_modules', clients[server]), clients[server]],
    [join(packages, '..', 'node_modules', 'tsx'), 'tsx'],
  ] as const
  for (const [real, name] of links) symlinkSync(realpathSync(real), join(modules, name))
}
const harnessIn = (folder: string, ground: Server | 'cli'): string =>
  join(folder, 'node_modules', '@posthorn', ground, 'test', 'conformance', 'harness.ts')

interface Patched {
  readonly where: Mutant['where']
  readonly file: string
  readonly text: string
}

/** The files with the bug in them; or why it cannot be planted. */
function patch(mutant: Mutant): readonly Patched[] | string {
  const files = new Map<string, Patched>()
  for (const edit of [mutant, ...(mutant.also ?? [])]) {
    const where = edit.where ?? mutant.where
    const path = join(packages, sources[where], edit.file)
    if (!existsSync(path)) return `there is no ${sources[where]}/${edit.file}`
    const text = files.get(path)?.text ?? readFileSync(path, 'utf8')
    const found = text.split(edit.find).length - 1
    if (found !== 1) return `the text to replace occurs ${found} times in ${sources[where]}/${edit.file}`
    files.set(path, { where, file: edit.file, text: text.replace(edit.find, () => edit.replace) })
  }
  return [...files.values()]
}

/** Plants the bug in the built packages; answers why that cannot be done, if so. */
function plant(mutant: Mutant, folder: string): string | undefined {
  const patched = patch(mutant)
  if (typeof patched === 'string') return patched
  for (const { where, file, text } of patched) {
    // A harness may read the adapter's source.
    if (isServer(where)) writeFileSync(join(folder, 'node_modules', '@posthorn', where, 'src', file), text)
    const compilerOptions = {
      module: compiler.ModuleKind.ESNext,
      target: compiler.ScriptTarget.ES2023,
      verbatimModuleSyntax: true,
      rewriteRelativeImportExtensions: true,
    }
    const output = join(folder, 'node_modules', '@posthorn', builds[where], file.replace(/\.ts$/, '.js'))
    mkdirSync(dirname(output), { recursive: true })
    writeFileSync(output, compiler.transpileModule(text, { compilerOptions, fileName: file }).outputText)
  }
  return undefined
}

function runSuiteIn(folder: string, args: readonly string[], ground: Ground): Promise<Outcome> {
  const json = join(folder, 'report.json')
  rmSync(json, { force: true })
  const script = join(folder, 'node_modules', '@posthorn', 'conformance', 'dist', 'main.js')
  return new Promise((resolve) => {
    const on = ground === undefined ? [] : ['--harness', harnessIn(folder, ground), '--slack', '2']
    const options = {
      timeout: ground === undefined || ground === 'cli' ? childMs : serverMs,
      killSignal: 'SIGKILL' as const,
      maxBuffer: 64 * 1_048_576,
    }
    execFile(
      process.execPath,
      ['--stack-trace-limit=5', script, ...args, ...on, '--brief', '--json', json],
      options,
      (error, _stdout, stderr) => {
        if (existsSync(json)) {
          const reports = JSON.parse(readFileSync(json, 'utf8')) as readonly { results: Outcome['clauses'] }[]
          resolve({ clauses: reports.flatMap((report) => report.results), broke: undefined })
        } else {
          const why =
            error?.killed === true
              ? `it did not end within ${options.timeout / 1000} s`
              : `it ended without a report: ${stderr.trim().split('\n').slice(-3).join(' / ')}`
          resolve({ clauses: [], broke: why })
        }
      },
    )
  })
}

interface JudgeOptions {
  readonly seeds: string
  readonly whole: boolean
  readonly server: Server | undefined
}
/** Bugs that only the clause of the command line can notice are looked for where there is one. */
const needsCommandLine = ({ killedBy }: Mutant): boolean => killedBy.includes('DLQ-10')

interface Verdict {
  readonly passed: boolean
  readonly line: string
}

async function judge(mutant: Mutant, options: JudgeOptions): Promise<Verdict> {
  const { server } = options
  const ground = server ?? (needsCommandLine(mutant) ? 'cli' : undefined)
  const began = realClock.monotonic()
  const folder = mkdtempSync(join(tmpdir(), 'posthorn-mutant-'))
  const profile = mutant.profile ?? 'default'
  const say = (verdict: string, note: string, passed: boolean): Verdict => ({
    passed,
    line: `${verdict.padEnd(8)}  ${mutant.id.padEnd(7)}  ${`${((realClock.monotonic() - began) / 1000).toFixed(1)} s`.padStart(7)}  ${mutant.what}  (${note})`,
  })
  try {
    if (mutant.killedByTest !== undefined && server !== undefined) {
      const { file, name } = mutant.killedByTest
      const source = layOutTests(packages, folder, server)
      const patched = patch(mutant)
      if (typeof patched === 'string') return say('BROKEN', patched, false)
      for (const each of patched) writeFileSync(join(source, each.file), each.text)
      const { failed, broke } = await runTests(packages, folder, server, [{ file, name }])
      if (broke !== undefined) return say('BROKEN', broke, false)
      return failed.length > 0 ? say('killed', `test ${name}, ${server}`, true) : say('SURVIVED', `test ${name} did not notice`, false)
    }
    layOut(folder, ground)
    const broken = plant(mutant, folder)
    if (broken !== undefined) return say('BROKEN', broken, false)
    const args = ['--only', mutant.killedBy.join(','), '--seeds', options.seeds, '--profile', profile, '--bail']
    const { clauses, broke } = await runSuiteIn(folder, args, ground)
    // A run that cannot even end is a bug that nobody could overlook; one that cannot start was not planted well.
    if (broke !== undefined) return /did not end/.test(broke) ? say('killed', broke, true) : say('BROKEN', broke, false)
    const failed = clauses.filter((clause) => clause.verdict === 'fail' || clause.verdict === 'vacuous')
    const named = failed.find((clause) => mutant.killedBy.includes(clause.id))
    if (named !== undefined) return say('killed', `${named.id}, seed ${named.seed}, ${ground ?? `profile ${profile}`}`, true)
    const unproven = clauses.filter((clause) => clause.verdict === 'not proven').map((clause) => clause.id)
    const absent = unproven.length > 0 ? `; not proven here: ${unproven.join(', ')}` : ''
    if (!options.whole) return say('SURVIVED', `${mutant.killedBy.join(', ')} did not notice${absent}`, false)
    const all = await runSuiteIn(folder, ['--profile', profile, '--bail'], ground)
    const other = all.clauses.find((clause) => clause.verdict === 'fail')
    return say(
      'SURVIVED',
      other === undefined ? `nobody noticed${absent}` : `only ${other.id} noticed: a weak spot of ${mutant.killedBy.join(', ')}${absent}`,
      false,
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The unchanged build must be clean in all seeds, or a kill proves nothing. */
async function judgeUnchanged(
  mutants: readonly Mutant[],
  profile: string,
  { seeds, ground }: { readonly seeds: string; readonly ground: Ground },
): Promise<Verdict> {
  const folder = mkdtempSync(join(tmpdir(), 'posthorn-unchanged-'))
  const clauses = [...new Set(mutants.filter((mutant) => (mutant.profile ?? 'default') === profile).flatMap((mutant) => mutant.killedBy))]
  try {
    if (clauses.length === 0) return { passed: true, line: 'clean     unchanged build, no clauses' }
    layOut(folder, ground)
    const { clauses: results, broke } = await runSuiteIn(
      folder,
      ['--only', clauses.join(','), '--seeds', seeds, '--profile', profile],
      ground,
    )
    const failed = results.filter((clause) => clause.verdict === 'fail' || clause.verdict === 'vacuous')
    const passed = broke === undefined && failed.length === 0
    const why = broke ?? failed.map((clause) => `${clause.id} seed ${clause.seed}: ${clause.reason ?? clause.verdict}`).join('; ')
    return {
      passed,
      line: `${passed ? 'clean' : 'UNCLEAN'}     unchanged build, ${ground ?? `profile ${profile}`}, ${clauses.length} clauses, ${seeds} seeds${passed ? '' : `: ${why}`}`,
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The same of the tests that are named for bugs of an adapter. */
async function judgeUnchangedTests(mutants: readonly Mutant[], server: Server): Promise<Verdict> {
  const folder = mkdtempSync(join(tmpdir(), 'posthorn-unchanged-'))
  try {
    layOutTests(packages, folder, server)
    const tests = mutants.flatMap(({ killedByTest }) => (killedByTest === undefined ? [] : [killedByTest]))
    const { passed, failed, broke } = await runTests(packages, folder, server, tests)
    const clean = broke === undefined && failed.length === 0
    return {
      passed: clean,
      line: `${clean ? 'clean' : 'UNCLEAN'}     unchanged build, ${server}, ${passed.length + failed.length} tests${clean ? '' : `: ${broke ?? failed.join('; ')}`}`,
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Runs jobs, some at a time, reports each as it ends, and answers in their order. */
async function inLanes(jobs: readonly (() => Promise<Verdict>)[], lanes: number): Promise<readonly Verdict[]> {
  const verdicts: Verdict[] = []
  const left = jobs.entries()
  const lane = async (): Promise<void> => {
    for (const [index, job] of left) {
      const verdict = await job()
      verdicts[index] = verdict
      process.stdout.write(`${verdict.line}\n`)
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  return verdicts
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      seeds: { type: 'string' },
      jobs: { type: 'string' },
      whole: { type: 'boolean', default: false },
      each: { type: 'boolean', default: false },
      server: { type: 'string' },
    },
  })
  const wanted = values.only?.split(',')
  const asked = ({ id }: { readonly id: string }): boolean => wanted === undefined || wanted.includes(id)
  const { server } = values
  if (server !== undefined && !isServer(server)) throw new Error(`--server must be one of ${servers.join(', ')}`)
  const seeds = values.seeds ?? (server === undefined ? '5' : '1')
  const chosen = (server === undefined ? allMutants : serverMutants.filter(({ where }) => where === server)).filter(asked)
  const mutants = values.each
    ? chosen.flatMap((mutant) => (mutant.killedByTest ? [mutant] : mutant.killedBy.map((clause) => ({ ...mutant, killedBy: [clause] }))))
    : chosen
  const planted = new Set(server === undefined ? [] : chosen.map(({ id }) => id))
  const skipped = needServers.filter(asked).filter(({ id }) => !planted.has(id))
  for (const { id, what, killedBy, on } of skipped) {
    process.stdout.write(
      `skipped   ${id.padEnd(7)}            ${what}  (a bug of the adapter of ${on.join(', ')}; ${killedBy.join(', ')})\n`,
    )
  }
  // With a server most of the time is spent waiting for it.
  const jobs = Math.max(1, Number(values.jobs ?? (server === undefined ? 2 : 5)))
  const commanding = server === undefined ? mutants.filter(needsCommandLine) : []
  const plain = mutants.filter((mutant) => !commanding.includes(mutant))
  const profiles = [...new Set(plain.map((mutant) => mutant.profile ?? 'default'))]
  const clean = [
    ...profiles.map((profile) => () => judgeUnchanged(plain, profile, { seeds, ground: server })),
    ...(commanding.length > 0 ? [() => judgeUnchanged(commanding, 'default', { seeds, ground: 'cli' })] : []),
    ...(server !== undefined && mutants.some(({ killedByTest }) => killedByTest !== undefined)
      ? [() => judgeUnchangedTests(mutants, server)]
      : []),
  ]
  const bugs = mutants.map((mutant) => () => judge(mutant, { seeds, whole: values.whole, server }))
  const results = await inLanes([...clean, ...bugs], jobs)
  const [unchanged, verdicts] = [results.slice(0, clean.length), results.slice(clean.length)]
  const killed = verdicts.filter((verdict) => verdict.passed).length
  const unclean = unchanged.filter((verdict) => !verdict.passed).length
  const score = verdicts.length === 0 ? 0 : (100 * killed) / verdicts.length
  process.stdout.write(
    `mutation score ${score.toFixed(1)} %: ${killed} of ${verdicts.length} planted bugs were noticed by the clauses named for them\n`,
  )
  for (const { line } of [...unchanged, ...verdicts].filter((verdict) => !verdict.passed)) process.stdout.write(`${line}\n`)
  const failed = verdicts.length - killed + unclean
  process.stdout.write(`${killed + unchanged.length - unclean} passed, ${failed} failed, ${skipped.length} skipped\n`)
  process.exitCode = failed > 0 ? 1 : 0
}

await main()
