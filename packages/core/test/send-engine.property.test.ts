import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { SendRequest } from '../src/context.ts'
import type { Outgoing, Place, PublishFailure } from '../src/contract.ts'
import type { MessagingError } from '../src/errors.ts'
import { type Published, pass, quiet, ScriptedError, scripted } from './support/scripted.ts'

const main: Place = { topic: 'orders', role: 'main', group: null }

// What the server does with one publish: how many of each partition it stores before it stops, what it says of the rest,
// how long it takes, and whether it answers at all.
const answer = fc.record({
  stores: fc.nat({ max: 6 }),
  rest: fc.constantFrom('unknown', 'unknown-stored', 'failed', 'refused'),
  afterMs: fc.constantFrom(0, 1, 20, 300, 2_000),
  replies: fc.constantFrom(true, true, true, true, 'never', 'when-aborted'),
  rejects: fc.constantFrom(false, false, false, true),
})
const step = fc.oneof(
  fc.record({
    kind: fc.constant('send' as const),
    partition: fc.constantFrom(null, 0, 0, 1, 2),
    timeoutMs: fc.constantFrom(100, 1_000, 5_000),
    retryUnknown: fc.boolean(),
    cancelAfter: fc.constantFrom(null, null, null, 0, 30, 500),
  }),
  fc.record({ kind: fc.constant('wait' as const), ms: fc.constantFrom(0, 1, 10, 100, 1_500) }),
)

test('whatever the server does, every send ends once and truly, and no partition is overtaken', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 60 }),
      fc.array(answer, { minLength: 1, maxLength: 20 }),
      fc.constantFrom(1, 2, 4),
      fc.constantFrom(1, 3, 100),
      async (steps, answers, batches, batch) => {
        const world = scripted({ limits: { batches, batch } })
        const { clock, context } = world
        const log: Outgoing[] = []
        const open = new Set<Published>()
        const abortedAt = new Map<Published, number>()
        const problems: string[] = []
        let turn = 0

        world.onPublish = (one) => {
          const live = [...open].filter((each) => !abortedAt.has(each) || clock.monotonic() < (abortedAt.get(each) ?? 0) + 1_000)
          if (live.length >= batches) problems.push(`${live.length + 1} publishes are open`)
          if (one.batch.length > batch) problems.push(`a batch of ${one.batch.length}`)
          for (const other of live) {
            for (const { partition } of one.batch) {
              if (partition !== null && other.batch.some((each) => each.partition === partition))
                problems.push(`partition ${partition} is published twice at once`)
            }
          }
          open.add(one)
          one.signal.addEventListener('abort', () => abortedAt.set(one, clock.monotonic()))
          const plan = answers[turn++ % answers.length]
          if (plan === undefined) return
          const counts = new Map<number | null, number>()
          const failures: PublishFailure[] = []
          one.batch.forEach((each, index) => {
            const count = counts.get(each.partition) ?? 0
            counts.set(each.partition, count + 1)
            if (count < plan.stores || plan.rest === 'unknown-stored') log.push(each)
            if (count < plan.stores && !plan.rejects) return
            const definite = !plan.rejects && (plan.rest === 'failed' || plan.rest === 'refused')
            failures.push({
              index,
              outcome: definite ? 'failed' : 'unknown',
              error: new ScriptedError({ outcome: definite ? 'failed' : 'unknown', retryable: plan.rest !== 'refused' }),
            })
          })
          const reply = (): void => {
            if (one.answered) return
            open.delete(one)
            if (plan.rejects) one.reject(new ScriptedError())
            else one.answer(failures)
          }
          if (plan.replies === true) clock.timer(plan.afterMs, reply)
          if (plan.replies === 'when-aborted') one.signal.addEventListener('abort', reply)
        }

        const sends: {
          id: string
          partition: number | null
          by: number
          receipts: number
          error?: MessagingError
          errors: number
          at?: number
        }[] = []
        for (const each of steps) {
          if (each.kind === 'wait') {
            await pass(clock, each.ms)
            continue
          }
          const id = `m${sends.length}`
          const controller = new AbortController()
          const made = {
            id,
            partition: each.partition,
            by: clock.monotonic() + each.timeoutMs,
            receipts: 0,
            errors: 0,
          } as (typeof sends)[number]
          sends.push(made)
          const request: SendRequest = {
            place: main,
            partition: each.partition,
            content: { id, key: null, body: null, time: null, expiresAt: null, attributes: {}, headers: null, transport: null },
            due: 0,
            slot: null,
            deadline: made.by,
            retryUnknown: each.retryUnknown,
            signal: each.cancelAfter === null ? undefined : controller.signal,
            attempted: 'cannot send',
          }
          context.sender.send(request).then(
            () => {
              made.receipts++
              made.at = clock.monotonic()
            },
            (error: MessagingError) => {
              made.errors++
              made.error = error
              made.at = clock.monotonic()
            },
          )
          if (each.cancelAfter !== null) clock.timer(each.cancelAfter, () => controller.abort())
        }
        await pass(clock, 9_000)
        await quiet()

        expect(problems).toEqual([])
        for (const sent of sends) {
          expect(sent.receipts + sent.errors, `outcomes of ${sent.id}`).toBe(1)
          expect(sent.at, `end of ${sent.id}`).toBeLessThanOrEqual(sent.by + 260)
          const copies = log.filter((each) => each.id === sent.id).length
          if (sent.receipts === 1) expect(copies, `${sent.id} was confirmed`).toBeGreaterThan(0)
          if (sent.error?.outcome === 'failed') expect(copies, `${sent.id} was said not to be stored`).toBe(0)
          if (sent.error !== undefined) expect(sent.error.messageId).toBe(sent.id)
        }
        for (const partition of [0, 1, 2]) {
          const order = sends.filter((each) => each.partition === partition).map((each) => each.id)
          const first = [...new Set(log.filter((each) => each.partition === partition).map((each) => each.id))]
          expect(first, `partition ${partition}`).toEqual(order.filter((id) => first.includes(id)))
        }
        expect(context.sender.stats).toEqual({ buffered: 0, open: 0 })
        expect(clock.pending()).toBe(0)
      },
    ),
    {
      numRuns: Number(process.env['PROPERTY_RUNS'] ?? 150),
      ...(process.env['PROPERTY_SEED'] === undefined ? {} : { seed: Number(process.env['PROPERTY_SEED']) }),
    },
  )
}, 60_000)
