import { type Ended, runOn, start } from '@posthorn/example-order-notification/program'
import { expect, it } from 'vitest'

const program = new URL('../src/smart-home.ts', import.meta.url)

function expectObeyed({ code, shown }: Ended): void {
  expect(shown).toContain('36 events, 25 commands by the rules: 25 in the journal, 25 obeyed')
  expect(shown).toContain('every device was told exactly what the rules say, in order')
  expect(shown).toContain('3 events have waited for it')
  expect(shown).toMatch(/02:14 {2}siren ring +the terrace door opens at night/)
  expect(code).toBe(0)
}

it('plays the day through a gateway on the embedded broker, and says that it speaks no MQTT', { timeout: 60_000 }, async () => {
  const ended = await start(program, [], { POSTHORN_BROKER: 'memory:home' }).ended
  expect(ended.shown).toContain('memory speaks no MQTT, so a gateway speaks for the devices')
  expectObeyed(ended)
})

it('plays the day with plain MQTT clients on Mosquitto', { timeout: 120_000 }, async ({ skip }) => {
  const ended = await runOn('mqtt', skip, program, [])
  expect(ended.shown).toContain('The devices are plain MQTT clients')
  expectObeyed(ended)
})
