// The rules of the house: what is to be done about an event. No broker in here, so they can be read and tested alone.
import type { Command, Event } from './topics.ts'

type Order = Pick<Command, 'device' | 'action' | 'why'>

const isDark = (at: string): boolean => at < '07:00' || at >= '18:00'
const isNight = (at: string): boolean => at < '05:00' || at >= '23:00'

const rules: readonly ((event: Event) => Order | undefined)[] = [
  (event) => {
    if (event.topic !== 'home.motion') return undefined
    const device = `lamp ${event.device}`
    if (event.value === 'no') return { device, action: 'off', why: 'nobody moves there' }
    return isDark(event.at) ? { device, action: 'on', why: 'somebody moves in the dark' } : undefined
  },
  (event) => {
    if (event.topic !== 'home.climate') return undefined
    const device = `fan ${event.device}`
    if (event.value > 26) return { device, action: 'on', why: `${event.value} °C is too warm` }
    return event.value < 24 ? { device, action: 'off', why: `${event.value} °C is fine` } : undefined
  },
  (event) =>
    event.topic === 'home.water' && event.value === 'wet'
      ? { device: 'valve', action: 'shut', why: `water in the ${event.device}` }
      : undefined,
  (event) =>
    event.topic === 'home.door' && event.value === 'open' && isNight(event.at)
      ? { device: 'siren', action: 'ring', why: `the ${event.device} door opens at night` }
      : undefined,
]

/**
 * The commands that follow from an event, and from nothing else: an event that comes again makes the same commands again, and a lamp
 * that is on stays on.
 */
export function commandsFor(event: Event): readonly Command[] {
  return rules.flatMap((rule) => {
    const order = rule(event)
    return order === undefined ? [] : [{ at: event.at, ...order }]
  })
}
