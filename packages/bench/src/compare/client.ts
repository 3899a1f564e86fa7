import type { Work } from '../messages.ts'
import type { GivenServer } from './servers.ts'
import type { Outcome } from './task.ts'

/** One way to talk to one broker. One file in `drivers/<broker>/` each. */
export interface Client {
  /** `naive`: without thinking; `tuned`: as fast as its client library allows; `posthorn`; or another one's name. */
  readonly name: string
  /** What it promises: only rows of the same promise can be compared. */
  readonly promise: 'at least once'
  /** How it keeps it and what it is set to, in a line. */
  readonly how: string
  /** How many messages of 100 B are about a second's work for it. */
  readonly messages: number
  open(place: Place): Promise<Connection>
}

/** Where one run sends and receives, and how many handlers may run at once. */
export interface Place {
  readonly url: string
  /** A topic that nobody used before. */
  readonly topic: string
  /** Order per key is kept, or there are no keys. */
  readonly keyed: boolean
  /** Partitions of the topic, the same for every client that has any. */
  readonly partitions: number
  readonly concurrency: number
  /** Groups that each get every message. */
  readonly groups: readonly string[]
  /** Messages that are handed over and not settled, at most, by partition. */
  readonly maxUnsettled: number
}

/** What a consumer does with a message. */
export type Handle = (work: Work) => void | Promise<void>

/** A client that is connected, with the sockets it wants for itself. */
export interface Connection {
  /** Makes the topic and its groups. */
  declare(): Promise<void>
  /** Stores messages 0 to `count` - 1 as this client does it under load. Resolves when the server confirmed all of them. */
  sendAll(count: number, make: (n: number) => Work): Promise<void>
  /** Stores one message now, without waiting for others. Resolves when the server confirmed it. */
  send(work: Work): Promise<void>
  /** Hands out what a group has not finished, and settles each message after its handler. */
  consume(handle: Handle, group: string): Promise<Consuming>
  /** What somebody should know about this connection: warnings, refusals. */
  readonly notes: readonly string[]
  close(): Promise<void>
}

/** A consumer that runs. */
export interface Consuming {
  /** Settles what is handled and stops. */
  close(): Promise<void>
}

/** A broker with the clients that are compared on it. One folder in `drivers/` each, and one line in `compare/brokers.ts`. */
export interface ComparedBroker {
  /** What is written on the command line. */
  readonly name: string
  /** What this server does with a message before it confirms it, as far as it can be asked. */
  settings(url: string): Promise<string>
  /** How each durability that it can have is set, the strongest first. */
  readonly durabilities: readonly Durability[]
  /** What ends the server in a run that restarts it: as much as its durability withstands. */
  readonly restartedBy: 'SIGKILL' | 'SIGTERM'
  /** Of a topic with keys, and of one without: what Posthorn takes without being asked. */
  readonly partitions: { readonly keyed: number; readonly unkeyed: number }
  readonly clients: readonly Client[]
  /** Programs of the server's makers that say how far it goes. */
  readonly yardsticks?: readonly Yardstick[]
  /** Versions of the client libraries. */
  versions(): Readonly<Record<string, string>>
  /** Messages that the groups were given or would be given: 0 after a run that settled everything. */
  unsettled(place: Place): Promise<number>
  /** Takes everything of a run off the server. */
  remove(place: Place): Promise<void>
}

/** A program of the server's makers that stores and reads messages as fast as it can. */
export interface Yardstick extends Pick<Client, 'name' | 'promise' | 'how' | 'messages'> {
  /** Stores so many messages of this size and reads them again: the measurements `produce` and `consume`. */
  run(server: GivenServer, work: { readonly bytes: number; readonly messages: number }): Promise<Outcome>
}

/** The durability that a message has when its send is confirmed. */
export interface Durability {
  readonly tier: Tier
  /** Lines of the server's configuration. */
  readonly settings: readonly string[]
  readonly says: string
}

/** From the strongest to the weakest: what a confirmed message survives. */
export const tiers = ['disk', 'process', 'memory'] as const
/** `disk`: a loss of power; `process`: the server's death by `kill -9`; `memory`: a clean stop of the server. */
export type Tier = (typeof tiers)[number]

/** The durability of a broker where this tier is asked for: the weakest that is as much, or else the strongest that it has. */
export function durabilityOf({ durabilities }: Pick<ComparedBroker, 'durabilities'>, asked: Tier): Durability {
  const enough = durabilities.filter(({ tier }) => tiers.indexOf(tier) <= tiers.indexOf(asked))
  const found = enough.at(-1) ?? durabilities[0]
  if (found === undefined) throw new Error('a broker has at least one durability')
  return found
}

/** The names of so many groups. */
export const groupsOf = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => (index === 0 ? 'bench' : `bench${index + 1}`))
