// What a command sees of the world: handed in, so that a test or another program can run one.

import { createInterface } from 'node:readline/promises'
import type { Broker } from '@posthorn/core'
import { realClock } from './clock.ts'
import { openBroker } from './open-broker.ts'

/** Where text goes. */
export interface Output {
  /** A promise where the reader is slow: whoever writes much waits for it. */
  write(text: string): Promise<void> | undefined
  /** Its width, where it is a terminal. */
  readonly columns: number | undefined
}

/** Which broker the command line asks for; what it leaves open is for configuration to say. */
export interface WantedBroker {
  /** A name of the configuration. */
  readonly name: string | undefined
  /** A configuration file. */
  readonly file: string | undefined
}

/** Everything that a command reads and writes. */
export interface Surroundings {
  /** Results. */
  readonly stdout: Output
  /** Progress, notes and errors. */
  readonly stderr: Output
  /** Asks the person at the terminal; missing where nobody can answer. */
  readonly ask: ((question: string) => Promise<string>) | undefined
  /** Aborts when the command is to end early. */
  readonly interrupted: AbortSignal
  /** Milliseconds since 1970. */
  now(): number
  /**
   * A connection that makes nothing on the server; the command closes it.
   *
   * @throws MessagingError
   */
  connect(wanted: WantedBroker): Promise<Broker>
}

/** Those of this process: its streams and variables, the configuration of the folder where it runs. */
export function processSurroundings(interrupted: AbortSignal): Surroundings {
  const { stdin, stdout, stderr } = process
  return {
    stdout: outputOf(stdout),
    stderr: outputOf(stderr),
    ask: stdin.isTTY === true && stderr.isTTY === true ? (question) => askPerson(question, interrupted) : undefined,
    interrupted,
    now: realClock.now,
    connect: (wanted) => openBroker(wanted, { cwd: process.cwd(), env: process.env }, interrupted),
  }
}

function outputOf(stream: NodeJS.WriteStream): Output {
  return {
    write(text) {
      if (stream.write(text)) return undefined
      return new Promise((resolve) => {
        stream.once('drain', resolve)
      })
    },
    get columns() {
      return stream.isTTY === true ? stream.columns : undefined
    },
  }
}

// The line is read as the terminal gives it, so that Ctrl-C stays a signal. Who gives up has not agreed.
async function askPerson(question: string, signal: AbortSignal): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr, terminal: false })
  try {
    return await lines.question(question, { signal })
  } catch {
    return ''
  } finally {
    lines.close()
  }
}
