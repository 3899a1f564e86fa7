// The suite is tested: each planted bug must be noticed by the clause that is named for it, and the unchanged build by none.
//
//   node packages/conformance/dist/mutants.js [--only MUT-07,MUT-08] [--seeds N] [--jobs N] [--whole] [--each]
//
// One of the named clauses is enough; with --each every one of them must notice by itself, so that a clause that sees less than
// its page says is found. With --whole a survivor meets the whole suite. Bugs of real adapters are run where their servers are,
// and listed here as skipped.
//
// A mutant is patched into the TypeScript source of one file; that file alone is compiled into a copy of the built packages, and
// the command line of the suite runs there. The last line is "N passed, N failed, N skipped".

import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { realClock } from './clock.ts'
import { allMutants, needServers } from './mutants/index.ts'
import type { Mutant } from './mutants/mutant.ts'

const packages = fileURLToPath(new URL('../../', import.meta.url))
const sources = { core: 'core/src', memory: 'core/src/memory', suite: 'conformance/src' } as const
const builds = { core: 'core/dist', memory: 'core/dist/memory', suite: 'conformance/dist' } as const
const childMs = 180_000

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

/** Copies what the suite needs to run into a folder of its own. */
function layOut(folder: string): void {
  for (const name of ['core', 'conformance']) {
    const target = join(folder, 'node_modules', '@posthorn', name)
    mkdirSync(target, { recursive: true })
    cpSync(join(packages, name, 'package.json'), join(target, 'package.json'))
    const keep = (path: string): boolean => !/\.(?:map|d\.ts|tsbuildinfo)$/.test(path)
    cpSync(join(packages, name, 'dist'), join(target, 'dist'), { recursive: true, filter: keep })
  }
}

/** Plants the bug; answers why that cannot be done, if so. */
function plant(mutant: Mutant, folder: string): string | undefined {
  const texts = new Map<string, { text: string; output: string }>()
  for (const edit of [mutant, ...(mutant.also ?? [])]) {
    const where = edit.where ?? mutant.where
    const path = join(packages, sources[where], edit.file)
    if (!existsSync(path)) return `there is no ${sources[where]}/${edit.file}`
    const known = texts.get(path)
    const text = known?.text ?? readFileSync(path, 'utf8')
    const found = text.split(edit.find).length - 1
    if (found !== 1) return `the text to replace occurs ${found} times in ${sources[where]}/${edit.file}`
    const output = join(folder, 'node_modules', '@posthorn', builds[where], edit.file.replace(/\.ts$/, '.js'))
    texts.set(path, { text: text.replace(edit.find, () => edit.replace), output })
  }
  for (const [fileName, { text, output }] of texts) {
    const compilerOptions = {
      module: compiler.ModuleKind.ESNext,
      target: compiler.ScriptTarget.ES2023,
      verbatimModuleSyntax: true,
      rewriteRelativeImportExtensions: true,
    }
    mkdirSync(dirname(output), { recursive: true })
    writeFileSync(output, compiler.transpileModule(text, { compilerOptions, fileName }).outputText)
  }
  return undefined
}

function runSuiteIn(folder: string, args: readonly string[]): Promise<Outcome> {
  const json = join(folder, 'report.json')
  rmSync(json, { force: true })
  const script = join(folder, 'node_modules', '@posthorn', 'conformance', 'dist', 'main.js')
  return new Promise((resolve) => {
    const options = { timeout: childMs, killSignal: 'SIGKILL' as const, maxBuffer: 64 * 1_048_576 }
    execFile(process.execPath, ['--stack-trace-limit=5', script, ...args, '--brief', '--json', json], options, (error, _stdout, stderr) => {
      if (existsSync(json)) {
        const reports = JSON.parse(readFileSync(json, 'utf8')) as readonly { results: Outcome['clauses'] }[]
        resolve({ clauses: reports.flatMap((report) => report.results), broke: undefined })
      } else {
        const why =
          error?.killed === true
            ? `it did not end within ${childMs / 1000} s`
            : `it ended without a report: ${stderr.trim().split('\n').slice(-3).join(' / ')}`
        resolve({ clauses: [], broke: why })
      }
    })
  })
}

interface Verdict {
  readonly passed: boolean
  readonly line: string
}

async function judge(mutant: Mutant, options: { readonly seeds: string; readonly whole: boolean }): Promise<Verdict> {
  const began = realClock.monotonic()
  const folder = mkdtempSync(join(tmpdir(), 'posthorn-mutant-'))
  const profile = mutant.profile ?? 'default'
  const say = (verdict: string, note: string, passed: boolean): Verdict => ({
    passed,
    line: `${verdict.padEnd(8)}  ${mutant.id.padEnd(7)}  ${`${((realClock.monotonic() - began) / 1000).toFixed(1)} s`.padStart(7)}  ${mutant.what}  (${note})`,
  })
  try {
    layOut(folder)
    const broken = plant(mutant, folder)
    if (broken !== undefined) return say('BROKEN', broken, false)
    const { clauses, broke } = await runSuiteIn(folder, [
      '--only',
      mutant.killedBy.join(','),
      '--seeds',
      options.seeds,
      '--profile',
      profile,
      '--bail',
    ])
    // A run that cannot even end is a bug that nobody could overlook; one that cannot start was not planted well.
    if (broke !== undefined) return /did not end/.test(broke) ? say('killed', broke, true) : say('BROKEN', broke, false)
    const failed = clauses.filter((clause) => clause.verdict === 'fail' || clause.verdict === 'vacuous')
    const named = failed.find((clause) => mutant.killedBy.includes(clause.id))
    if (named !== undefined) return say('killed', `${named.id}, seed ${named.seed}, profile ${profile}`, true)
    const unproven = clauses.filter((clause) => clause.verdict === 'not proven').map((clause) => clause.id)
    const absent = unproven.length > 0 ? `; not proven here: ${unproven.join(', ')}` : ''
    if (!options.whole) return say('SURVIVED', `${mutant.killedBy.join(', ')} did not notice${absent}`, false)
    const all = await runSuiteIn(folder, ['--profile', profile, '--bail'])
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
async function judgeUnchanged(mutants: readonly Mutant[], profile: string, seeds: string): Promise<Verdict> {
  const folder = mkdtempSync(join(tmpdir(), 'posthorn-unchanged-'))
  try {
    layOut(folder)
    const clauses = [...new Set(mutants.filter((mutant) => (mutant.profile ?? 'default') === profile).flatMap((mutant) => mutant.killedBy))]
    const { clauses: results, broke } = await runSuiteIn(folder, ['--only', clauses.join(','), '--seeds', seeds, '--profile', profile])
    const failed = results.filter((clause) => clause.verdict === 'fail' || clause.verdict === 'vacuous')
    const passed = broke === undefined && failed.length === 0
    const why = broke ?? failed.map((clause) => `${clause.id} seed ${clause.seed}`).join(', ')
    return {
      passed,
      line: `${passed ? 'clean' : 'UNCLEAN'}     unchanged build, profile ${profile}, ${clauses.length} clauses, ${seeds} seeds${passed ? '' : `: ${why}`}`,
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Runs jobs, some at a time, and reports each as it ends. */
async function inLanes(jobs: readonly (() => Promise<Verdict>)[], lanes: number): Promise<readonly Verdict[]> {
  const verdicts: Verdict[] = []
  let next = 0
  const lane = async (): Promise<void> => {
    for (let job = jobs[next++]; job !== undefined; job = jobs[next++]) {
      const verdict = await job()
      verdicts.push(verdict)
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
      seeds: { type: 'string', default: '5' },
      jobs: { type: 'string', default: '2' },
      whole: { type: 'boolean', default: false },
      each: { type: 'boolean', default: false },
    },
  })
  const wanted = values.only?.split(',')
  const asked = ({ id }: { readonly id: string }): boolean => wanted === undefined || wanted.includes(id)
  const chosen = allMutants.filter(asked)
  const mutants = values.each ? chosen.flatMap((mutant) => mutant.killedBy.map((clause) => ({ ...mutant, killedBy: [clause] }))) : chosen
  const skipped = needServers.filter(asked)
  for (const { id, what, killedBy } of skipped) {
    process.stdout.write(
      `skipped   ${id.padEnd(7)}            ${what}  (a bug of a real adapter: needs its server, and ${killedBy.join(', ')})\n`,
    )
  }
  const jobs = Math.max(1, Number(values.jobs))
  const profiles = [...new Set(mutants.map((mutant) => mutant.profile ?? 'default'))]
  const unchanged = await inLanes(
    profiles.map((profile) => () => judgeUnchanged(mutants, profile, values.seeds)),
    jobs,
  )
  const verdicts = await inLanes(
    mutants.map((mutant) => () => judge(mutant, { seeds: values.seeds, whole: values.whole })),
    jobs,
  )
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
