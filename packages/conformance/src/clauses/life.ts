import type { Clause } from '../clause.ts'
import { lifeApart } from './life-apart.ts'
import { lifeCalls } from './life-calls.ts'
import { lifeDrain } from './life-drain.ts'
import { lifeStatus } from './life-status.ts'
import { lifeVisible } from './life-visible.ts'

const place = (clause: Clause): number => Number(clause.id.split('-')[1])

/** The LIFE clauses, in the order of the page. */
export const life: readonly Clause[] = [...lifeDrain, ...lifeCalls, ...lifeApart, ...lifeStatus, ...lifeVisible].sort(
  (a, b) => place(a) - place(b),
)
