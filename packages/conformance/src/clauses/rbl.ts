import type { Clause } from '../clause.ts'
import { rblHandOver } from './rbl-hand-over.ts'
import { rblOwners } from './rbl-owners.ts'
import { rblTakeover } from './rbl-takeover.ts'

const place = (clause: Clause): number => Number(clause.id.split('-')[1])

/** The RBL clauses, in the order of the page. */
export const rbl: readonly Clause[] = [...rblTakeover, ...rblHandOver, ...rblOwners].sort((a, b) => place(a) - place(b))
