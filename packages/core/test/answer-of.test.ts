import { expect, it } from 'vitest'
import { answerOf } from '../src/answer-of.ts'
import { virtualClock } from '../src/virtual-clock.ts'

const asked = { attempted: 'redis: connecting', asked: 'the function "password"', withinMs: 500 }

it('gives the answer, or what was thrown, and keeps neither timer nor listener', async () => {
  const clock = virtualClock()
  const { signal } = new AbortController()
  expect(await answerOf(() => 'one', { ...asked, clock, signal })).toBe('one')
  expect(await answerOf(async () => 'two', { ...asked, clock, signal })).toBe('two')
  const broken = (): string => {
    throw new Error('no key for the vault')
  }
  await expect(answerOf(broken, { ...asked, clock, signal })).rejects.toThrow('no key for the vault')
  expect(clock.pending()).toBe(0)
})

it('does not wait for ever for an answer', async () => {
  const clock = virtualClock()
  const answer = answerOf(() => new Promise<string>(() => {}), { ...asked, clock, signal: new AbortController().signal })
  const told = expect(answer).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    retryable: true,
    message: 'redis: connecting: the function "password" did not answer within 500 ms',
  })
  clock.step()
  await told
})

it('does not wait when connecting is given up, before or meanwhile, and asks nobody then', async () => {
  const clock = virtualClock()
  const stop = new AbortController()
  let times = 0
  const ask = (): Promise<string> => {
    times++
    return new Promise(() => {})
  }
  const answer = answerOf(ask, { ...asked, clock, signal: stop.signal })
  stop.abort()
  await expect(answer).rejects.toMatchObject({ code: 'CANCELLED' })
  await expect(answerOf(ask, { ...asked, clock, signal: stop.signal })).rejects.toMatchObject({ code: 'CANCELLED' })
  expect([times, clock.pending()]).toEqual([1, 0])
})
