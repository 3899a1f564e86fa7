import type { LiveTest } from './live-tests.ts'

/** One planted bug, at most 20 lines: it must be noticed by the clauses that are named for it. */
export interface Mutant {
  readonly id: string
  /**
   * `core`: a file of packages/core/src. `memory`: of packages/core/src/memory. `suite`: of packages/conformance/src. `cli`: of
   * packages/cli/src. `redis`, `rabbitmq`, `kafka` and `mqtt`: of that adapter's src, where the clauses run on a real server.
   */
  readonly where: 'core' | 'memory' | 'suite' | 'cli' | 'redis' | 'rabbitmq' | 'kafka' | 'mqtt'
  readonly file: string
  /** Must occur exactly once in the file. */
  readonly find: string
  readonly replace: string
  /** More edits, where one place is not enough. */
  readonly also?: readonly { readonly where?: Mutant['where']; readonly file: string; readonly find: string; readonly replace: string }[]
  /** Any of them failing in any seed kills it. None where a test does. */
  readonly killedBy: readonly string[]
  /** Of a bug in a real adapter: the test of its package that fails, instead of a clause. */
  readonly killedByTest?: LiveTest
  /** The manifest under which it shows. @default 'default' */
  readonly profile?: 'default' | 'kafka' | 'rabbitmq' | 'redis' | 'mqtt'
  /** The bug in a few words, as on the page. */
  readonly what: string
}
