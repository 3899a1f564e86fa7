import { type Clause, type ClauseResult, runSuite, type Trial } from '@posthorn/conformance'
import { describe, expect, it } from 'vitest'
import harness from './own-broker.ts'

const harnessAt = new URL('./own-broker.ts', import.meta.url).href

async function runOne(run: (t: Trial) => Promise<void>): Promise<ClauseResult> {
  const clause: Clause = { id: 'X-1', title: 'a clause', needs: 'process', run }
  const report = await runSuite({ harness, harnessAt, clauses: [clause] })
  return report.results[0] as ClauseResult
}
const passed = { verdict: 'pass', reason: undefined }

describe('a member in a process of its own', () => {
  it('tells its starts, ends, sends, calls and events', async () => {
    const result = await runOne(async (t) => {
      const topic = t.topic('jobs')
      const seen = t.recorder()
      const member = await t.member({ topic, recorder: seen, produce: { topic, count: 20 } })
      await t.until('all are handled', () => seen.finished === 20, { seen: () => seen.finished })
      await t.until(
        'all are told',
        () => t.sends.filter(({ outcome }) => outcome === 'stored').length === 20 && member.calls.settled === 20,
      )
      t.equal(seen.repeats, 0, 'repeats')
      t.equal(member.starts, 20, 'starts')
      t.equal(t.events('done').length, 20, 'events')
      t.equal(member.calls.assignments.filter(({ role }) => role === 'main').length, 4, 'assignments')
      t.ok(member.instance.length > 0, 'it has an identity')
      await member.close()
    })
    expect(result).toMatchObject(passed)
  }, 30_000)

  it('waits at gates, stands still when frozen, and goes on', async () => {
    const result = await runOne(async (t) => {
      const topic = t.topic('jobs')
      const seen = t.recorder()
      const gate = t.gate()
      const member = await t.member({
        topic,
        recorder: seen,
        produce: { topic, count: 100, everyMs: 10 },
        acts: [{ when: { first: 1 }, gate }],
      })
      await t.until('one waits and others are done', () => gate.waiting === 1 && seen.done > 3)
      member.freeze()
      await t.pass(100)
      const before = seen.starts.length
      await t.pass(300)
      t.equal(seen.starts.length, before, 'starts while it is frozen')
      gate.open()
      member.thaw()
      await t.until('all are handled', () => seen.finished === 100, { withinMs: 20_000, seen: () => seen.finished })
    })
    expect(result).toMatchObject(passed)
  }, 30_000)

  it('loses what it runs when it is killed, ends itself, or dies at a call', async () => {
    const result = await runOne(async (t) => {
      const topic = t.topic('jobs')
      const produce = { topic, count: 50, everyMs: 10 }
      const [killed, ended, died] = [t.recorder('killed'), t.recorder('ended'), t.recorder('died')]
      const first = await t.member({ topic, recorder: killed, produce, acts: [{ then: 'never' }] })
      await t.until('three run', () => first.running >= 3)
      first.kill()
      await first.died
      t.equal(first.running, 0, 'handlers of a dead process')
      t.atLeast(killed.starts.filter(({ end }) => end === 'lost').length, 3, 'handlers that were lost')
      const second = await t.member({ topic, recorder: ended, produce, acts: [{ then: 'exit' }] })
      await second.died
      t.atLeast(ended.starts.length, 1, 'starts told by a process that ended itself')
      const third = await t.member({ topic, recorder: died, produce, dieAt: { operation: 'settle', when: 'before', nth: 2 } })
      await third.died
      t.equal(
        [first, second, third].map(({ alive }) => alive),
        [false, false, false],
        'who lives',
      )
      t.atLeast(died.done, 2, 'handlers done before the call that ended it')
    })
    expect(result).toMatchObject(passed)
  }, 30_000)

  it('cannot be disturbed where nothing stands between it and its server', async () => {
    const result = await runOne(async (t) => {
      const member = await t.member({ topic: t.topic('jobs') })
      member.cut()
    })
    expect(result.verdict).toBe('not proven')
  }, 30_000)
})
