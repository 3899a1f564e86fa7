import type { Adapter } from '@posthorn/core/adapter'

/** A broker that can be measured. One file in `drivers/` each. */
export interface Driver {
  /** What is written on the command line. */
  readonly name: string
  /** Versions of the server and of the client library, for the head of the report. */
  versions(): Promise<Readonly<Record<string, string>>>
  /** A server without any messages; every run opens its own. */
  open(): Promise<Place>
}

/** Where one run sends and receives. */
export interface Place {
  readonly adapter: Adapter
  /** Bytes that the server itself keeps in this process; null: it is elsewhere. */
  serverBytes(): number | null
  /** Takes everything down again. */
  close(): Promise<void>
}
