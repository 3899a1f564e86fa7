import { testBroker } from '@posthorn/core/testing'
import { expect, it } from 'vitest'
import { commandsFor } from '../src/rules.ts'
import { startRules } from '../src/rules-service.ts'
import { climate, commandGiven } from '../src/topics.ts'

it('lights a lamp for motion in the dark, and never by day', () => {
  expect(commandsFor({ topic: 'home.motion', at: '18:40', device: 'hall', value: 'yes' })).toMatchObject([
    { device: 'lamp hall', action: 'on' },
  ])
  expect(commandsFor({ topic: 'home.motion', at: '12:00', device: 'hall', value: 'yes' })).toEqual([])
})

it('starts the fan above 26 degrees, stops it below 24, and leaves it alone in between', () => {
  const actions = [26, 26.1, 24, 23.9].map((value) =>
    commandsFor({ topic: 'home.climate', at: '12:00', device: 'kitchen', value }).map(({ action }) => action),
  )
  expect(actions).toEqual([[], ['on'], [], ['off']])
})

it('shuts the valve when there is water', () => {
  expect(commandsFor({ topic: 'home.water', at: '12:00', device: 'cellar', value: 'wet' })).toMatchObject([
    { device: 'valve', action: 'shut' },
  ])
})

it('rings when a door opens at night, and not by day', () => {
  const open = (at: string) => commandsFor({ topic: 'home.door', at, device: 'front', value: 'open' })
  expect([open('02:14'), open('23:00')].flat()).toHaveLength(2)
  expect(open('17:20')).toEqual([])
})

it('sends its commands with the settlement of the event', async () => {
  await using broker = await testBroker()
  await startRules(broker, () => undefined)
  await broker.producer(climate).send({ at: '12:30', device: 'kitchen', value: 27 })
  const { value } = await broker.sent(commandGiven)
  expect(value).toEqual({ at: '12:30', device: 'fan kitchen', action: 'on', why: '27 °C is too warm' })
})
