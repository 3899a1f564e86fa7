import type { Row, Settings } from '../scenario.ts'
import type { Server } from './contest.ts'

/** One table of the report on a real server: the same work by each of its clients. */
export interface Comparison {
  readonly title: string
  /** How it is measured, in a line or two. */
  readonly method: string
  run(server: Server, settings: Settings): Promise<readonly Row[]>
}
