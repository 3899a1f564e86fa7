// A smart home: sensors say what happens, rules decide, lamps and fans obey. On an MQTT server the devices are plain MQTT clients.
//   npm run smart-home -- --broker mqtt
import { setTimeout as wait } from 'node:timers/promises'
import { connect } from '@posthorn/core'
import { loadConfig } from '@posthorn/core/config'
import { refuseLeftovers } from '@posthorn/example-order-notification/leftovers'
import { readDay } from './day.ts'
import { gateway, plainDevices } from './devices.ts'
import { commandsFor } from './rules.ts'
import { startRules } from './rules-service.ts'
import { type Command, commandGiven, events } from './topics.ts'

const target = await loadConfig()
const broker = await connect(target, { name: 'smart-home' })
await refuseLeftovers(broker, [...events.map((topic) => [topic, 'rules'] as const), [commandGiven, 'journal']])
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort())
async function until(condition: () => boolean): Promise<boolean> {
  const deadline = performance.now() + 30_000
  while (!condition() && !stop.signal.aborted && performance.now() < deadline) await wait(5)
  return condition()
}

const day = readDay()
const must = day.flatMap(commandsFor)
/** When the rules service is away. */
const updated = { from: '11:00', to: '13:10' }
let seen = 0
const written: Command[] = []
const obeyed: Command[] = []

// Rules and journal are there once before the first device speaks; from then on the server keeps what comes while they are away.
let rules = await startRules(broker, () => seen++)
await broker.consume(commandGiven, { group: 'journal' }, ({ value }) => {
  written.push(value)
  console.log(`  ${value.at}  ${`${value.device} ${value.action}`.padEnd(20)} ${value.why}`)
})
const server = typeof target === 'string' ? { url: target } : 'url' in target ? { url: target.url, login: target.mqtt } : undefined
const plain = broker.adapter === 'mqtt' && server !== undefined
const actuators = [...new Set(must.map(({ device }) => device))]
const told = (command: Command): void => void obeyed.push(command)
const devices = plain ? await plainDevices(server, actuators, told) : await gateway(broker, told)
console.log(
  plain
    ? 'The devices are plain MQTT clients: they publish JSON on home/motion, home/climate, home/door and home/water'
    : `${broker.adapter} speaks no MQTT, so a gateway speaks for the devices; with plain MQTT clients: npm run smart-home -- --broker mqtt`,
)

const isDealtWith = (count: number) => () => {
  const commands = day.slice(0, count).flatMap(commandsFor).length
  return seen >= count && written.length >= commands && obeyed.length >= commands
}
for (const [index, event] of day.entries()) {
  if (stop.signal.aborted) break
  if (event.at === updated.from) {
    await rules.close()
    console.log(`  ${event.at}  the rules are updated: their service is stopped, the devices go on`)
  }
  await devices.say(event)
  if (event.at === updated.to) {
    console.log(`  ${event.at}  the service comes back; ${index + 1 - seen} events have waited for it`)
    rules = await startRules(broker, () => seen++)
  }
  const away = event.at >= updated.from && event.at < updated.to
  if (!away && !(await until(isDealtWith(index + 1)))) break
}
await devices.close()
await broker.close()

/** What each device was told, in its order; across devices there is none. */
const byDevice = (commands: readonly Command[]) =>
  JSON.stringify(actuators.map((name) => commands.filter(({ device }) => device === name).map(({ at, action }) => `${at} ${action}`)))
if (stop.signal.aborted) console.log(`stopped: ${seen} events are dealt with; what devices say now waits on the server`)
else {
  console.log(`${day.length} events, ${must.length} commands by the rules: ${written.length} in the journal, ${obeyed.length} obeyed`)
  const right = byDevice(written) === byDevice(must) && byDevice(obeyed) === byDevice(must) && seen === day.length
  console.log(right ? 'every device was told exactly what the rules say, in order' : 'that is not what the rules say')
  if (!right) process.exitCode = 1
}
