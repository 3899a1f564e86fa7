// Bugs that a live test of the adapter notices: the adapter's package is laid out in a folder of its own, with its source as it is
// there, and the tests that are named for the bug run against that.

import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

export const servers = ['redis', 'rabbitmq', 'kafka', 'mqtt'] as const
export type Server = (typeof servers)[number]
export const isServer = (name: string): name is Server => (servers as readonly string[]).includes(name)

/** A test of an adapter's package. */
export interface LiveTest {
  /** Relative to the package. */
  readonly file: string
  /** A word or several of its title, mostly the name of a trap or a clause. */
  readonly name: string
}

/** What became of the tests that were asked for. */
export interface TestOutcome {
  readonly passed: readonly string[]
  readonly failed: readonly string[]
  /** Why there is no answer, if so. */
  readonly broke: string | undefined
}

const mostMs = 300_000
const unstartedText = 'the tests did not start'

/** Lays the package out with everything that its tests import; answers the folder of its source. */
export function layOutTests(packages: string, folder: string, server: Server): string {
  const from = join(packages, `adapter-${server}`)
  const target = join(folder, 'packages', `adapter-${server}`)
  mkdirSync(target, { recursive: true })
  for (const part of ['package.json', 'src', 'test']) cpSync(join(from, part), join(target, part), { recursive: true })
  symlinkSync(realpathSync(join(from, 'node_modules')), join(target, 'node_modules'))
  symlinkSync(realpathSync(join(packages, '..', 'tools')), join(folder, 'tools'))
  const conditions = ['@posthorn/source']
  const config = {
    root: target,
    cacheDir: join(folder, 'cache'),
    // By its name the package itself is meant, and not the one beside the suite.
    resolve: { conditions, alias: { [`@posthorn/${server}`]: join(target, 'src', 'index.ts') } },
    ssr: { resolve: { conditions, externalConditions: conditions } },
    test: { include: ['test/**/*.test.ts'], retry: 0 },
  }
  writeFileSync(join(folder, 'vitest.config.mjs'), `export default ${JSON.stringify(config)}\n`)
  return join(target, 'src')
}

/** Runs the tests of a package that was laid out. Never rejects. */
export async function runTests(packages: string, folder: string, server: Server, tests: readonly LiveTest[]): Promise<TestOutcome> {
  const outcome = await runOnce(packages, folder, server, tests)
  // A server that took too long to start says nothing about the bug.
  return outcome.broke?.startsWith(unstartedText) === true ? runOnce(packages, folder, server, tests) : outcome
}

function runOnce(packages: string, folder: string, server: Server, tests: readonly LiveTest[]): Promise<TestOutcome> {
  const json = join(folder, 'tests.json')
  rmSync(json, { force: true })
  const vitest = createRequire(join(packages, `adapter-${server}`, 'package.json')).resolve('vitest/package.json')
  const names = [...new Set(tests.map(({ name }) => name))]
  const args = [
    join(dirname(vitest), 'vitest.mjs'),
    ...['run', '--config', join(folder, 'vitest.config.mjs'), '--reporter', 'json', '--outputFile', json],
    ...['-t', nameIn(names).source],
    ...new Set(tests.map(({ file }) => file)),
  ]
  return new Promise((resolve) => {
    const options = { cwd: folder, timeout: mostMs, killSignal: 'SIGKILL' as const, maxBuffer: 64 * 1_048_576 }
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      if (existsSync(json)) return resolve(outcomeOf(json, names))
      const said = `${stdout}\n${stderr}`.trim().split('\n').slice(-3).join(' / ')
      const broke = error?.killed === true ? `it did not end within ${mostMs / 1000} s` : `it ended without a report: ${said}`
      resolve({ passed: [], failed: [], broke })
    })
  })
}

interface Report {
  readonly testResults: readonly {
    readonly status: string
    readonly message?: string
    readonly assertionResults: readonly { readonly status: string; readonly title: string }[]
  }[]
}

function outcomeOf(json: string, names: readonly string[]): TestOutcome {
  const { testResults } = JSON.parse(readFileSync(json, 'utf8')) as Report
  const all = testResults.flatMap(({ assertionResults }) => assertionResults)
  const titles = (wanted: string): readonly string[] => all.filter(({ status }) => status === wanted).map(({ title }) => title)
  const [passed, failed] = [titles('passed'), titles('failed')]
  const ran = [...passed, ...failed]
  // A file that fails without a test that fails did not get as far as its tests: its server did not start.
  const unstarted = testResults.find(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.every((each) => each.status !== 'failed'),
  )
  const absent = names.filter((name) => !ran.some((title) => nameIn([name]).test(title)))
  const why = unstarted === undefined ? `no test ran that is named ${absent.join(', ')}` : `${unstartedText}: ${unstarted.message ?? ''}`
  return { passed, failed, broke: unstarted === undefined && absent.length === 0 ? undefined : why.split('\n')[0] }
}

/** Finds titles that have one of these words in them. */
const nameIn = (names: readonly string[]): RegExp => new RegExp(`\\b(?:${names.join('|')})\\b`)
