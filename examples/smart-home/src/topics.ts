// What happens in the house, and what is to be done. On MQTT `home.climate` is the topic `home/climate`: devices publish there as
// they always did, in plain JSON.
import { topic } from '@posthorn/core'
import { z } from 'zod'

const at = z.string().regex(/^\d\d:\d\d$/)
const device = z.string().min(1)

const reading = <Value extends z.ZodType>(value: Value) => z.object({ at, device, value })
const groups = ['rules']

// One partition each: what devices publish comes in one line anyhow.
export const climate = topic('home.climate', { schema: reading(z.number()), groups, partitions: 1 })
export const motion = topic('home.motion', { schema: reading(z.enum(['yes', 'no'])), groups, partitions: 1 })
export const door = topic('home.door', { schema: reading(z.enum(['open', 'closed'])), groups, partitions: 1 })
export const water = topic('home.water', { schema: reading(z.enum(['dry', 'wet'])), groups, partitions: 1 })
export const events = [climate, motion, door, water] as const
export type Event = { readonly at: string; readonly device: string } & (
  | { readonly topic: 'home.climate'; readonly value: number }
  | { readonly topic: 'home.motion'; readonly value: 'yes' | 'no' }
  | { readonly topic: 'home.door'; readonly value: 'open' | 'closed' }
  | { readonly topic: 'home.water'; readonly value: 'dry' | 'wet' }
)

export const command = z.object({ at, device, action: z.enum(['on', 'off', 'shut', 'ring']), why: z.string() })
export type Command = z.infer<typeof command>

/** To lamps, fans, the valve and the siren. In order per device: "off" must not overtake "on". The journal keeps all of them. */
export const commandGiven = topic('home.commands', { schema: command, key: (given) => given.device, groups: ['journal'], partitions: 1 })
