import { type Clause, clauseLines, countLine, runSuite, type SuiteReport, when } from '@posthorn/conformance'
import { memoryHarness } from '@posthorn/conformance/memory'
import { topic } from '@posthorn/core'
import { describe, expect, it } from 'vitest'

async function runOne(clause: Partial<Clause>, others: readonly Clause[] = []): Promise<SuiteReport> {
  const whole: Clause = { id: 'X-1', title: 'a clause', needs: 'memory', ...clause }
  return runSuite({ harness: memoryHarness(), clauses: [whole, ...others] })
}

describe('runSuite', () => {
  it('passes a clause that sends and handles', async () => {
    const report = await runOne({
      async run(t) {
        const jobs = t.topic('jobs')
        const broker = await t.connect()
        const seen = t.recorder()
        await broker.consume(
          jobs,
          t.consumeOptions(),
          seen.handler(() => t.sleep(1000)),
        )
        const orders = t.orders(20)
        await t.send(broker, jobs, orders)
        await t.fence(broker, jobs, seen)
        await t.settled(jobs)
        seen.exactly(orders)
      },
    })
    expect(report.results).toMatchObject([{ id: 'X-1', verdict: 'pass' }])
    expect(report.counts).toMatchObject({ delivered: 20, repeats: 0 })
    expect(countLine([report])).toBe('1 passed, 0 failed, 0 skipped')
  })

  it('fails with the reason, the seed and the command that repeats it', async () => {
    const report = await runOne({ run: async (t) => t.equal(1, 2, 'apples') })
    const lines = clauseLines(report.results[0]!, (id, seed) => `again ${id} ${seed}`)
    expect(lines.join('\n')).toContain('apples: expected 2, found 1')
    expect(lines.at(-1)).toContain('seed 1; repeat: again X-1 1')
    expect(countLine([report])).toBe('0 passed, 1 failed, 0 skipped')
  })

  it('ends a wait at its virtual deadline and says what was seen', async () => {
    const report = await runOne({ run: (t) => t.until('pigs fly', () => false, { withinMs: 60_000, seen: () => 'no pig' }) })
    expect(report.results[0]?.reason ?? '').toMatch(/proof of a hang|not within 60000 ms: pigs fly; seen: "no pig"/)
    expect(report.results[0]?.seconds).toBeLessThan(5)
  })

  it('proves a hang at once when nothing is left that could happen', async () => {
    const report = await runOne({ run: () => new Promise(() => {}) })
    expect(report.results[0]).toMatchObject({ verdict: 'fail' })
    expect(report.results[0]?.reason).toMatch(/proof of a hang/)
  })

  it('ends a clause that waits for ever while heartbeats go on', async () => {
    const report = await runOne({
      async run(t) {
        await t.connect()
        await new Promise(() => {})
      },
    })
    expect(report.results[0]?.reason).toMatch(/virtual minutes without progress|proof of a hang/)
  })

  it('repeats a run whose fault hit nothing, and fails the third time', async () => {
    let runs = 0
    const report = await runOne({
      async run(t) {
        runs++
        t.struck('running handlers', 0)
      },
    })
    expect(runs).toBe(3)
    expect(report.results[0]?.reason).toMatch(/vacuous three times/)
    let tries = 0
    const second = await runOne({ run: async (t) => t.struck('running handlers', tries++) })
    expect(second.results[0]?.verdict).toBe('pass')
  })

  it('takes the branch that the manifest asks for', async () => {
    const branches: string[] = []
    await runOne({
      gate: when('delay', 'none'),
      run: async () => void branches.push('run'),
      other: async () => void branches.push('other'),
    })
    expect(branches).toEqual(['other'])
  })

  it('counts neither as passed nor as skipped what cannot be proven here', async () => {
    const report = await runOne({ needs: 'network', run: async () => {} }, [{ id: 'X-2', title: 'no code', needs: 'memory' }])
    expect(report.results.map((result) => result.verdict)).toEqual(['not proven', 'not proven'])
    expect(countLine([report])).toBe('0 passed, 0 failed, 0 skipped')
  })

  it('reports an unhandled rejection under its own id', async () => {
    const standing: Clause = { id: 'LIFE-15', title: 'no rejection goes unhandled', needs: 'memory', standing: true }
    const report = await runOne({ run: async () => void Promise.reject(new Error('nobody caught me')) }, [standing])
    expect(report.results.map(({ id, verdict }) => [id, verdict])).toEqual([
      ['X-1', 'pass'],
      ['LIFE-15', 'fail'],
    ])
    expect(report.results[1]?.reason).toContain('in X-1: unhandled rejection: Error: nobody caught me')
  })

  it('fails the clause in which a planted secret was shown', async () => {
    const report = await runOne({
      async run(t) {
        process.stderr.write(`connecting with ${t.canary}\n`)
      },
    })
    expect(report.results[0]?.reason).toContain('(SEC-1) the planted secret shows in what was written to stderr')
  })

  it('kills, freezes and thaws members', async () => {
    const report = await runOne({
      async run(t) {
        const jobs = t.topic('jobs', { partitions: 1 })
        const sender = await t.connect()
        const gate = t.gate()
        const seen = t.recorder()
        const first = await t.member({ topic: jobs, recorder: seen, acts: [{ gate }] })
        await t.send(sender, jobs, t.orders(3, { keys: 3 }))
        await t.until('three run', () => first.running === 3)
        first.freeze()
        gate.open()
        await t.pass(100)
        t.equal(first.running, 3, 'handlers of a frozen member')
        first.thaw()
        await t.settled(jobs)
        first.kill()
        t.equal([first.alive, first.frozen], [false, false], 'alive and frozen after the kill')
        await first.died
        const second = await t.member({ topic: jobs, recorder: seen })
        await t.send(sender, jobs, t.orders(3, { keys: 3 }))
        await t.until('the second handles', () => second.starts === 3, t.takeoverMs)
      },
    })
    expect(report.results[0]?.reason).toBeUndefined()
  })

  it('repeats a run exactly from its seed', async () => {
    const history: string[][] = []
    const clause: Partial<Clause> = {
      async run(t) {
        const jobs = t.topic('jobs')
        const broker = await t.connect({ jitter: 'free' })
        const seen = t.recorder()
        await broker.consume(
          jobs,
          t.consumeOptions(),
          seen.handler(async (message) => {
            await t.sleep(t.random() * 50)
            if (message.attempt === 1 && t.random() < 0.5) throw new Error('on purpose')
          }),
        )
        await t.send(broker, jobs, t.orders(100))
        await t.settled(jobs, 'workers', 60_000)
        history.push(seen.starts.map((start) => `${start.id} ${start.at.toFixed(3)} ${start.attempt}`))
      },
    }
    await runOne(clause)
    await runOne(clause)
    expect(history[0]).toEqual(history[1])
  })

  it('runs a clause that the harness names as unmet only where it is asked for by name', async () => {
    let runs = 0
    const clauses: readonly Clause[] = [{ id: 'X-1', title: 'a clause', needs: 'memory', run: async () => void runs++ }]
    const harness = { ...memoryHarness(), unmet: { 'X-1': 'the reason' } }
    expect((await runSuite({ harness, clauses })).results).toMatchObject([{ id: 'X-1', verdict: 'not proven', reason: 'the reason' }])
    expect(runs).toBe(0)
    expect((await runSuite({ harness, clauses, only: ['X-1'] })).results).toMatchObject([{ id: 'X-1', verdict: 'pass' }])
    expect(runs).toBe(1)
    await expect(runSuite({ harness: { ...harness, unmet: { 'X-9': 'gone' } }, clauses })).rejects.toThrow('X-9')
  })

  it('refuses ids that are no clause', async () => {
    await expect(runSuite({ harness: memoryHarness(), only: ['ACK-99'] })).rejects.toThrow('no clause is called ACK-99')
  })

  it('names topics that are valid for every clause', async () => {
    const { allClauses } = await import('@posthorn/conformance')
    const { name } = await memoryHarness().isolate(allClauses[0]!.id)
    expect(() => topic(name('jobs'))).not.toThrow()
    expect(new Set(allClauses.map((clause) => clause.id)).size).toBe(allClauses.length)
  })
})
