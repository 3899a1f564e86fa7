// A real server for a file of tests, a session on it, and what the server writes down.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Opened, openSession, whereFound } from '@posthorn/conformance/live'
import { type MqttOptions, mqtt } from '@posthorn/mqtt'
import { describe } from 'vitest'
import { findBroker, type RunningBroker } from '../../../../tools/brokers/index.mjs'

type Describe = ReturnType<typeof whereFound>

/** Tests that need a server; without one they are skipped, and their title says why. */
export const describeLive: Describe = whereFound(describe, await findBroker('mqtt'))
/** The same on the other kind of server. */
export const describeHive: Describe = whereFound(describe, await findBroker('hivemq'))

/** Opens a session as core would, that says every second that it lives. */
export const open = (options: MqttOptions): Promise<Opened> => openSession(mqtt({ keepAliveMs: 1000, ...options }))

/** What the server writes down of every packet: start it with these settings. */
export const wordy = ['log_dest file audit.log', 'log_type all']
/** Lines of the server's log with this in them. */
export function logged(broker: RunningBroker, what: RegExp): readonly string[] {
  return readFileSync(join(broker.folder, 'audit.log'), 'utf8')
    .split('\n')
    .filter((line) => what.test(line))
}
