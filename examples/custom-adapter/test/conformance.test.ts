import { clauseLines, runSuite } from '@posthorn/conformance'
import { describe, expect, it } from 'vitest'
import harness from '../harness.ts'

const report = await runSuite({ harness, profile: 'log' })
const proven = report.results.filter(({ verdict }) => verdict === 'pass')
const notProven = report.results.filter(({ verdict }) => verdict === 'not proven')

describe(`the adapter for the log server: ${proven.length} clauses proven, ${notProven.length} not proven`, () => {
  for (const result of report.results) {
    if (result.verdict === 'not proven') continue
    it(`${result.id} ${result.title}`, () => {
      if (result.verdict !== 'pass') expect.unreachable(clauseLines(result, (id) => `runSuite({ harness, only: ['${id}'] })`).join('\n'))
    })
  }

  it('leaves out only what needs a connection, a process, users or another language', () => {
    const reasons = new Set(notProven.map(({ reason }) => reason))
    expect([...reasons].filter((reason) => reason === undefined || reason === '')).toEqual([])
    expect(proven.length).toBeGreaterThan(notProven.length)
  })
})
