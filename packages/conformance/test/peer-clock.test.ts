import { virtualClock } from '@posthorn/core/testing'
import { expect, it } from 'vitest'
import { peerClock } from '../src/peer-clock.ts'

it('runs and counts its own timers', () => {
  const world = virtualClock()
  const clock = peerClock(world)
  let ran = 0
  clock.timer(10, () => ran++)
  const cancel = clock.timer(20, () => ran++)
  expect(clock.pending()).toBe(2)
  cancel()
  world.step()
  expect([ran, clock.pending(), world.pending()]).toEqual([1, 0, 0])
})

it('fires what came due in a freeze when it thaws, in order of due time', async () => {
  const world = virtualClock()
  const clock = peerClock(world)
  const ran: number[] = []
  clock.timer(20, () => ran.push(20))
  clock.timer(10, () => ran.push(10))
  clock.freeze()
  let awake = false
  void clock.awake().then(() => {
    awake = true
  })
  world.step()
  world.step()
  expect(ran).toEqual([])
  clock.thaw()
  await Promise.resolve()
  expect([ran, awake]).toEqual([[10, 20], true])
})

it('never fires again once its process is dead', () => {
  const world = virtualClock()
  const clock = peerClock(world)
  clock.timer(10, () => expect.unreachable())
  clock.kill()
  clock.timer(10, () => expect.unreachable())
  expect(world.step()).toBe(false)
  clock.thaw()
  expect(clock.stopped).toBe(true)
})
