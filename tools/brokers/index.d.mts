// Real servers by name, for tests, demo, benchmark and people.

/** The servers that Posthorn has adapters for; `mqtt` is Mosquitto, `hivemq` another one for the same adapter. */
export type BrokerName = 'redis' | 'rabbitmq' | 'kafka' | 'mqtt' | 'hivemq'

/** Files of a throwaway certificate authority, for encrypted connections; each is the path of a PEM file. */
export interface TlsFiles {
  readonly ca: string
  readonly cert: string
  readonly key: string
  readonly clientCert: string
  readonly clientKey: string
}

/** A user of the server. The default is one who may do everything. */
export interface BrokerUser {
  readonly name: string
  readonly password: string
  /**
   * Redis: rules of its access control list, by default `~* &* +@all`. Redis loads its data as the user `default`: what that one may not
   * do is missing after a restart.
   */
  readonly rules?: string
  /** RabbitMQ: regular expressions over the names in the virtual host, each by default `.*`. */
  readonly permissions?: { readonly configure?: string; readonly write?: string; readonly read?: string }
  /** RabbitMQ and Mosquitto: for example `administrator`. Kafka: `super`, who may do everything whatever is denied. By default none. */
  readonly tags?: readonly string[]
}

export interface BrokerOptions {
  /**
   * `durable` (the default): what was acknowledged survives `kill -9`. Redis: `appendonly yes`, `appendfsync always`; RabbitMQ as it
   * comes, where queues and messages decide; Mosquitto nearly so: it saves every second or two, drops nothing for want of room, and says
   * `graceful`. `stock`: the settings that the distribution ships.
   */
  readonly profile?: 'durable' | 'stock'
  /** More lines for the server's configuration; the last line wins. */
  readonly settings?: readonly string[]
  /** Encrypted connections only, with these files. A client's certificate is asked for and not required. */
  readonly tls?: TlsFiles
  /** By default a free one of 127.0.0.1. */
  readonly port?: number
  /** The users there are; the URL carries the first one's credentials. Without users everybody may do everything. */
  readonly users?: readonly BrokerUser[]
  /** Redis: starts a sentinel instead of a server; `settings` say what it watches. */
  readonly sentinel?: boolean
  /** RabbitMQ: more plugins to enable. By default none. Their ports must be set with `settings`. */
  readonly plugins?: readonly string[]
  /** Kafka: for measurements: a machine with 1 GB that compiles for speed, not for a quick start. */
  readonly fast?: boolean
  /** RabbitMQ: virtual hosts besides `/`; the URL names the first. */
  readonly vhosts?: readonly string[]
}

/** A server that runs. Its process ends with ours, however ours ends. */
export interface RunningBroker {
  readonly name: BrokerName
  /** For people and reports: `Redis 7.0.15`. */
  readonly title: string
  readonly version: string
  /** Where the program came from. `external` is a server that somebody else runs: it is used, and never started, wiped or killed. */
  readonly source: 'external' | 'binary' | 'cache' | 'system' | 'provisioned' | 'docker'
  /** What `connect` takes. */
  readonly url: string
  readonly port: number
  /** What survives: `kill -9`, a clean restart only, or nothing that is promised. */
  readonly profile: 'durable' | 'graceful' | 'volatile'
  /** The server's process, while it runs here. */
  readonly pid: number | undefined
  /** Its further ports. Kafka: a listener without users and encryption for administration, and the controller's. Empty where others run it. */
  readonly extra: readonly number[]
  /** The command line of one of the server's own programs, as `control` names them; empty where there is none. */
  command(tool: string): readonly string[]
  /** Its configuration, data and log (`server.log`); gone after `stop`. */
  readonly folder: string
  /** Starts it again on the same data and port; does nothing while it runs. Resolves when it answers its protocol. */
  start(): Promise<void>
  /**
   * Ends it (`SIGTERM`, `SIGKILL`: resolves when the process is gone), freezes it (`SIGSTOP`: resolves when it stands still) or thaws
   * it. Does nothing when it does not run.
   */
  signal(signal: 'SIGTERM' | 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>
  /**
   * Everything stored is gone, and it runs. Redis keeps its connections (and forgets its scripts); RabbitMQ is started on an empty
   * folder, with the users and virtual hosts of the options.
   */
  wipe(): Promise<void>
  /** One command of administration, without a client library: a Redis command, arguments of `rabbitmqctl`, or one of Kafka's programs (`topics`, `groups`, `acls`, `configs`) with its arguments. Answers what it printed. */
  control(args: readonly string[]): Promise<string>
  /** Ends it and removes its folder. */
  stop(): Promise<void>
}

/**
 * Starts a server of its own, with private folder and port. Several run side by side. The program is looked for in this order: an
 * address in the environment (`POSTHORN_REDIS_URL`), a binary named there (`POSTHORN_REDIS_BINARY`), the project's cache, the system,
 * packages fetched into the cache, a container engine.
 *
 * Throws `BrokerMissing` when there is none, or when an external server cannot have the options, and `Error` with the end of the
 * server's log when it does not start.
 */
export function startBroker(name: BrokerName, options?: BrokerOptions): Promise<RunningBroker>

/** Looks whether a server can be had, fetching it into the cache if need be, and starts none. */
export function findBroker(
  name: BrokerName,
): Promise<
  | { readonly available: true; readonly title: string; readonly source: RunningBroker['source'] }
  | { readonly available: false; readonly reason: string }
>

/** No server by this name can be had here; the message says where it was looked for and why that did not work. */
export class BrokerMissing extends Error {
  constructor(broker: string, tried: readonly string[])
  readonly code: 'BROKER_MISSING'
  readonly broker: string
  readonly tried: readonly string[]
}

/** Makes a certificate authority with a server's and a client's certificate in a folder, for 127.0.0.1 and localhost, for two days. */
export function makeTls(folder: string): Promise<TlsFiles>

/**
 * The path of a `python3` that can import these packages of the Python Package Index, each pinned (`redis==6.4.0`). It is kept in the
 * cache. Throws when there is no Python or the packages cannot be had.
 */
export function pythonWith(packages: readonly string[]): Promise<string>

/** The languages of examples/polyglot. */
export type Language = 'python' | 'go' | 'java'

/** Command lines of a program in another language; arguments are added. */
export interface PolyglotProgram {
  readonly run: readonly string[]
  readonly check: readonly string[]
}

/**
 * Builds the program in a folder of examples/polyglot, or finds it in the cache. Throws `LanguageMissing` when the language is not
 * installed or its packages cannot be had, and `Error` when it does not compile.
 */
export function polyglotProgram(language: Language, folder: string): Promise<PolyglotProgram>

/** A language that is not installed here, or whose packages cannot be had; the message says which and why. */
export class LanguageMissing extends Error {
  constructor(language: string, reason: string)
  readonly code: 'LANGUAGE_MISSING'
}

/** Several Kafka nodes on this machine, with as many copies of everything. Each may be killed, frozen and started again. */
export function startKafkaCluster(
  count?: number,
  options?: BrokerOptions,
): Promise<{ readonly nodes: readonly RunningBroker[]; readonly url: string; stop(): Promise<void> }>
