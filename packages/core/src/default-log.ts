import type { Clock } from './contract.ts'
import type { LogEntry } from './log.ts'

/** Prints entries for people: one line each on stderr, at most two a second per cause. Never throws. */
export interface DefaultLog {
  print(entry: LogEntry): void
  /** Says what the limit still holds back; called when the broker closes. */
  end(): void
}

interface Cause {
  readonly entry: LogEntry
  since: number
  printed: number
  held: number
}

const windowMs = 1000
const perWindow = 2
const maxCauses = 500
const maxCharacters = 1000

// What is true of the process is said once in it, however many brokers it opens.
const saidOnce = new Set<string>()
const once: ReadonlySet<string> = new Set(['embedded-broker'])

/** The log that is used where `connect` is given none. `write` takes finished lines; stdout is never touched. */
export function createDefaultLog(clock: Clock, write: (line: string) => void = toStderr): DefaultLog {
  const causes = new Map<string, Cause>()

  function line(entry: LogEntry, held: number): void {
    const more = held === 0 ? '' : ` (and ${held} more like this since the last line)`
    write(`posthorn ${entry.level}: ${oneLine(entry.message)}${more}\n`)
  }

  return {
    print(entry) {
      try {
        if (once.has(entry.event)) {
          if (saidOnce.has(entry.event)) return
          saidOnce.add(entry.event)
        }
        const name = `${entry.event} ${entry.topic ?? ''} ${entry.group ?? ''}`
        const now = clock.monotonic()
        let cause = causes.get(name)
        if (cause === undefined) {
          if (causes.size >= maxCauses) causes.delete(causes.keys().next().value ?? '')
          cause = { entry, since: now, printed: 0, held: 0 }
          causes.set(name, cause)
        }
        if (now - cause.since >= windowMs) {
          cause.since = now
          cause.printed = 0
        }
        if (cause.printed >= perWindow) {
          cause.held += 1
          return
        }
        cause.printed += 1
        const { held } = cause
        cause.held = 0
        line(entry, held)
      } catch {
        // a log that cannot be written must not stop a message
      }
    },
    end() {
      try {
        for (const { entry, held } of causes.values()) {
          if (held > 0) line({ ...entry, message: `${held} more lines like this were held back: ${entry.message}` }, 0)
        }
      } catch {
        // as above
      }
      causes.clear()
    },
  }
}

function toStderr(line: string): void {
  process.stderr.write(line)
}

// Texts of handlers and servers go into the line: a line break or an escape sequence of theirs must not forge another one.
function oneLine(text: string): string {
  const flat = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ')
  return flat.length > maxCharacters ? `${flat.slice(0, maxCharacters)}…` : flat
}
