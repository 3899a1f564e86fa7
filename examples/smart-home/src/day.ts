// The day that is played: data/day.csv as events.
import { readFileSync } from 'node:fs'
import type { Event } from './topics.ts'

export function readDay(): readonly Event[] {
  const lines = readFileSync(new URL('../data/day.csv', import.meta.url), 'utf8')
    .trimEnd()
    .split(/\r?\n/)
    .slice(1)
  return lines.map((line) => {
    const [at = '', topic = '', device = '', value = ''] = line.split(',')
    return { at, device, topic: `home.${topic}`, value: topic === 'climate' ? Number(value) : value } as Event
  })
}
