// The devices of the house. On an MQTT server they are what devices are: plain MQTT clients that have never heard of this library.
// On other servers there is nothing they could talk to, so a gateway in this process speaks for them.
import type { Broker } from '@posthorn/core'
import type { MqttOptions } from '@posthorn/mqtt'
import { connectAsync, type MqttClient } from 'mqtt'
import { type Command, climate, commandGiven, door, type Event, motion, water } from './topics.ts'

export interface Devices {
  /** What a sensor says, at least once: resolves when the server has it. */
  say(event: Event): Promise<void>
  close(): Promise<void>
}

/** Where the devices find the server, and how they log in. */
export interface Server {
  readonly url: string
  readonly login?: Pick<MqttOptions, 'username' | 'password'> | undefined
}

/** One connection per device. Sensors publish JSON on `home/motion`; lamps and fans listen on `home/commands/…` for their name. */
export async function plainDevices(server: Server, actuators: readonly string[], told: (command: Command) => void): Promise<Devices> {
  const { username, password: given } = server.login ?? {}
  const password = typeof given === 'function' ? await given() : given
  const login = { ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }) }
  const connected = (name: string): Promise<MqttClient> => connectAsync(server.url, { clientId: `device ${name}`, ...login })
  const sensors = new Map<string, MqttClient>()
  const listening = await Promise.all(
    actuators.map(async (name) => {
      const client = await connected(name)
      client.on('message', (_, body) => {
        const command = JSON.parse(body.toString()) as Command
        if (command.device === name) told(command)
      })
      await client.subscribeAsync('home/commands/#', { qos: 1 })
      return client
    }),
  )
  return {
    async say({ topic, ...reading }) {
      const name = `${topic} ${reading.device}`
      const client = sensors.get(name) ?? (await connected(name))
      sensors.set(name, client)
      await client.publishAsync(topic.replaceAll('.', '/'), JSON.stringify(reading), { qos: 1 })
    },
    close: async () => void (await Promise.all([...sensors.values(), ...listening].map((client) => client.endAsync()))),
  }
}

/** Says what the sensors say, and hears every command while it is connected, as a radio does. */
export async function gateway(broker: Broker, told: (command: Command) => void): Promise<Devices> {
  const listening = await broker.consume(commandGiven, { group: 'gateway', broadcast: true }, ({ value }) => told(value))
  return {
    async say({ topic, ...reading }) {
      // Each schema checks its own: a door that is "wet" is refused here.
      const sensors: Record<Event['topic'], { send(value: never): Promise<unknown> }> = {
        'home.climate': broker.producer(climate),
        'home.motion': broker.producer(motion),
        'home.door': broker.producer(door),
        'home.water': broker.producer(water),
      }
      await sensors[topic].send(reading as never)
    },
    close: () => listening.close(),
  }
}
