import type { Work } from '../messages.ts'

/** Which of the three ways to talk to a broker: without thinking, as fast as its client library allows, and through Posthorn. */
export type ClientName = 'naive' | 'tuned' | 'posthorn'

/** One way to talk to one broker. One file in `drivers/<broker>/` each. */
export interface Client {
  readonly name: ClientName
  /** What it promises: only rows of the same promise can be compared. */
  readonly promise: 'at least once'
  /** How it keeps it and what it is set to, in a line. */
  readonly how: string
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
  /** Messages that are handed over and not settled, at most, by partition. */
  readonly maxUnsettled: number
}

/** A client that is connected, with the sockets it wants for itself. */
export interface Connection {
  /** Makes the topic and its only group. */
  declare(): Promise<void>
  /** Stores messages 0 to `count` - 1 as this client does it under load. Resolves when the server confirmed all of them. */
  sendAll(count: number, make: (n: number) => Work): Promise<void>
  /** Stores one message now, without waiting for others. Resolves when the server confirmed it. */
  send(work: Work): Promise<void>
  /** Hands out what the group has not finished, and settles each message after its handler. */
  consume(handle: (work: Work) => void | Promise<void>): Promise<Consuming>
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
  /** Of a topic with keys, and of one without: what Posthorn takes without being asked. */
  readonly partitions: { readonly keyed: number; readonly unkeyed: number }
  /** How many messages a measured run has: about a second's work. */
  readonly messages: Readonly<Record<ClientName, number>>
  readonly clients: Readonly<Record<ClientName, Client>>
  /** Versions of the client libraries. */
  versions(): Readonly<Record<string, string>>
  /** Messages that the group was given or would be given: 0 after a run that settled everything. */
  unsettled(place: Place): Promise<number>
  /** Takes everything of a run off the server. */
  remove(place: Place): Promise<void>
}

/** The group of every run. */
export const group = 'bench'
