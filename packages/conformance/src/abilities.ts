// What a harness and its auditor may offer beside what every clause needs. Each is optional: without it the clauses that want it
// are listed as not proven, with what is missing.

import type { Broker } from '@posthorn/core'

/** What an encrypted connection of the adapter is told: texts in PEM. */
export interface TlsTold {
  /** The authority to trust. @default those of the system */
  readonly ca?: string | undefined
  /** The client's own certificate, and its key. */
  readonly cert?: string | undefined
  readonly key?: string | undefined
}

/** How the adapter is told to encrypt. The suite stands before the server with certificates of its own. */
export interface TlsAbility {
  /** The URL of an encrypted connection, from the one that a plain connection would have. */
  address(plain: string): string
  /** The adapter's options. `ask` is to be called before each connection, as an application does whose certificates are replaced. */
  options(ask: () => TlsTold): Record<string, unknown>
  /** The adapter's options that switch verification off. Missing where it has none, which is better. */
  readonly unverified?: Record<string, unknown> | undefined
}

/** Names that a plain client of another kind gave to what it made, and how the adapter is told them. */
export interface ExistingNames {
  /** What the topic says under `native`. */
  readonly native: Readonly<Record<string, unknown>>
  /** What the auditor is told, in its own words. */
  readonly names: Readonly<Record<string, string>>
}

/** A message in the shape in which it lies on the wire: nothing in it is interpreted. */
export interface WireEntry {
  /** Names and values as any client sees them, in any order: headers, fields or user properties. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** Where the protocol has a place for it, else among the headers. */
  readonly contentType: string | null
  readonly body: Uint8Array | null
  /** The protocol's own key, where it has one. */
  readonly key: string | null
}

/** One message of a golden file: what an application sends and gets, and how it lies on the wire. */
export interface GoldenEntry {
  readonly name: string
  readonly entry: Omit<WireEntry, 'body'> & { readonly body: string | null }
}

/** Several servers that stand in for each other. */
export interface Cluster {
  /** What the adapter connects to: all nodes. No proxy is in between. */
  readonly address: string
  /** The adapter's options, where one server needs others. */
  readonly options: Record<string, unknown>
  readonly nodes: readonly {
    start(): Promise<void>
    signal(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
  }[]
  /** Which node leads the partition of a topic. */
  leader(topic: string, partition: number): Promise<number>
  stop(): Promise<void>
}

/** What a program said when it ended. */
export interface CommandLineResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Where a command line works, and how it is ended early. */
export interface CommandLineOn {
  /** The server, by a URL that the adapter's package connects to. */
  readonly address: string
  /** Connects there and makes nothing, for a command line that runs in this process; one that is a process of its own does so by itself. */
  connect(): Promise<Broker>
  /** When it aborts, the program gets SIGINT. */
  readonly interrupt?: AbortSignal | undefined
}

/** Optional members of a harness. */
export interface HarnessAbilities {
  /** Encrypted connections: SEC-3, and the certificates of SEC-4. */
  readonly tls?: TlsAbility | undefined
  /** The adapter's options by which it asks for its password before each connection: SEC-4. */
  password?(ask: () => string): Record<string, unknown>
  /** One address for several servers of which any will do, from the URLs of single ones: NET-15. */
  hosts?(addresses: readonly string[]): string
  /** Names that do not follow ours, made from `base`, under which a plain client works: INT-10. */
  existing?(base: string): ExistingNames
  /** Starts several servers that stand in for each other, with three copies of everything: NET-18. */
  cluster?(): Promise<Cluster>
  /** Runs the command line of Posthorn with these words to its end; `commandLineAt` makes it of a program. DLQ-10. */
  commandLine?(args: readonly string[], on: CommandLineOn): Promise<CommandLineResult>
  /** The folder of golden files, `<release>.json` each, written by another client: INT-1 and INT-9. */
  readonly golden?: URL | undefined
}

/** A plain client and the names that it gave: what another library's service does. */
export interface PlainService {
  /** Makes topic, queue and group as another client does. */
  make(names: ExistingNames['names']): Promise<void>
  send(names: ExistingNames['names'], bodies: readonly Uint8Array[]): Promise<void>
  /** Handles and settles so many, as a consumer under these names; answers their bodies. Rejects when they do not come. */
  workOff(names: ExistingNames['names'], count: number): Promise<readonly Uint8Array[]>
  /** Not settled, handed out or not. */
  remaining(names: ExistingNames['names']): Promise<number>
  /** The names of everything on the server, this client's and others'. */
  everything(): Promise<readonly string[]>
}

/** Optional members of an auditor. */
export interface AuditorAbilities {
  /** Gives the adapter's user another password; null: the one that it had. Connections stay. SEC-4. */
  setPassword?(password: string | null): Promise<void>
  /** True: the server has no room for anything more. False: it has again. NET-19. */
  fill?(full: boolean): Promise<void>
  /** Writes exactly this into a topic of ours. INT-6 and INT-9. */
  writeEntry?(topic: string, entry: WireEntry): Promise<void>
  /** What lies in a topic of ours, as any client sees it. INT-1. */
  readEntries?(topic: string): Promise<readonly WireEntry[]>
  /** INT-10. */
  readonly plain?: PlainService | undefined
}
