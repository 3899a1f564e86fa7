// The docs name clauses as their proof. A clause that does not exist proves nothing.
import { readFileSync } from 'node:fs'
import { allClauses } from '@posthorn/conformance'
import { expect, it } from 'vitest'

const read = (name: string): string => readFileSync(new URL(`../../../docs/${name}.md`, import.meta.url), 'utf8')
const page = read('guarantees')
const rows = [...page.matchAll(/^\| ([A-Z]\d+) \| (.+) \| (.+) \|$/gm)]

it('names for each guarantee at least one clause, and only clauses that exist', () => {
  const known = new Set(allClauses.map(({ id }) => id))
  const groups = [...new Set(allClauses.map(({ id }) => id.split('-')[0]))].join('|')
  const named = (text: string): readonly string[] => [...text.matchAll(new RegExp(`\\b(?:${groups})-\\d+\\b`, 'g'))].map(([id]) => id)
  expect(rows.length).toBeGreaterThan(40)
  expect(rows.filter(([, , , proof]) => named(proof ?? '').length === 0).map(([, id]) => id)).toEqual([])
  expect(named(page + read('writing-an-adapter')).filter((id) => !known.has(id))).toEqual([])
})

it('says "simulation" for the rules that the simulation checks, and for no other', () => {
  const sources = ['checker', 'run'].map((name) => readFileSync(new URL(`../src/simulation/${name}.ts`, import.meta.url), 'utf8'))
  const checked = new Set(sources.flatMap((text) => [...text.matchAll(/violation\(\s*'([A-Z]\d+)'/g)].map(([, id]) => id)))
  const claimed = rows.filter(([, , , proof]) => proof?.includes('simulation')).map(([, id]) => id)
  expect(claimed.sort()).toEqual([...checked].sort())
})
