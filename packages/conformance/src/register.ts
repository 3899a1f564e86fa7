import { allClauses } from './clauses/index.ts'
import type { Harness } from './harness.ts'
import { clauseLines } from './report.ts'
import { runSuite, type SuiteOptions } from './runner.ts'

/** The two functions that test runners have in common. */
export type Describe = (name: string, body: () => void) => void
/** `it(name, body, timeoutMs)`, as test runners have it. */
export type It = (name: string, body: (context?: { skip?: (reason?: string) => void }) => Promise<void>, timeoutMs?: number) => void

/**
 * Registers each clause as a test of your runner: `register(describe, it, harness)`. A clause that cannot be proven here is
 * skipped with its reason where the runner can say so, and is never counted as proven by `runSuite`.
 */
export function register(
  describe: Describe,
  it: It,
  harness: Harness,
  options: Omit<SuiteOptions, 'harness' | 'only' | 'onResult'> = {},
): void {
  const seed = options.seed ?? 1
  describe('conformance', () => {
    for (const clause of options.clauses ?? allClauses) {
      it(`${clause.id} ${clause.title}`, async (context) => {
        const report = await runSuite({ ...options, harness, only: [clause.id] })
        const failures = report.results.filter((result) => result.verdict === 'fail')
        if (failures.length > 0) {
          throw new Error(failures.flatMap((result) => clauseLines(result, (id) => `only ${id}, seed ${seed}`)).join('\n'))
        }
        const own = report.results.find((result) => result.id === clause.id)
        if (own?.verdict === 'not proven') context?.skip?.(own.reason)
      }, 60_000)
    }
  })
}
