import type { Clause } from '../clause.ts'
import { netLinks } from './net-links.ts'
import { netServer } from './net-server.ts'

const place = (clause: Clause): number => Number(clause.id.split('-')[1])

/** The NET clauses, in the order of the page. */
export const net: readonly Clause[] = [...netLinks, ...netServer].sort((a, b) => place(a) - place(b))
