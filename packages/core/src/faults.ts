import type { Fault } from './contract.ts'
import { isMessagingError } from './errors.ts'
import { redactText } from './redact.ts'

/** What an error means, in short. */
type Verdict = readonly [code: Fault['code'], retryable: boolean, outcome: Fault['outcome']]

interface Marked extends Error {
  [mark: symbol]: Fault | undefined
}

const certificates = /^(?:CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_|ERR_TLS_CERT|HOSTNAME_MISMATCH|ERR_OSSL|ERR_SSL)/
/** What is said where one end speaks TLS and the other one does not. */
export const wrongTls: RegExp = /wrong version number|packet length too long|http request|unknown protocol/i
const sockets = /^(?:E[A-Z]+|ERR_STREAM|ERR_SOCKET)/
const unclassified: Fault = Object.freeze({ code: 'INTERNAL', retryable: false, outcome: 'unknown' })

/** Errors of one adapter. */
interface Faults {
  /**
   * Makes an error of this adapter, its text without credentials. `outcome` speaks of a publish: refused before anything was stored, or not
   * known. `retryable` is true for UNAVAILABLE and TIMED_OUT where it is not said.
   */
  readonly fault: (code: Fault['code'], text: string, outcome?: Fault['outcome'], retryable?: boolean) => Error
  /** Was it made by `fault`? */
  readonly isOurs: (error: unknown) => error is Error
  /** What an adapter's `explain` answers. What nobody knows is INTERNAL, and of a publish unknown. Never throws. */
  readonly explain: (error: unknown) => Fault
}

/** Errors that carry their meaning, and `explain` for all others; `classify` says what errors of the client and the server mean. */
export function createFaults(adapter: string, classify: (error: Error) => Verdict): Faults {
  const mark = Symbol.for(`posthorn.${adapter}.fault`)
  return {
    fault(code, text, outcome = 'none', retryable = code === 'UNAVAILABLE' || code === 'TIMED_OUT') {
      const fault: Fault = Object.freeze({ code, retryable, outcome })
      return Object.defineProperty(new Error(redactText(text)), mark, { value: fault })
    },
    isOurs: (error): error is Error => error instanceof Error && (error as Marked)[mark] !== undefined,
    explain(error) {
      try {
        if (!(error instanceof Error)) return unclassified
        const ours = (error as Marked)[mark]
        if (ours !== undefined) return ours
        if (isMessagingError(error)) return { code: error.code, retryable: error.retryable, outcome: error.outcome }
        const [code, retryable, outcome] = classify(error)
        return Object.freeze({ code, retryable, outcome })
      } catch {
        // A proxy whose traps throw is no error of ours.
        return unclassified
      }
    },
  }
}

/** What an error of a socket or of TLS means, whatever client passes it on; null: it is none. */
export function socketVerdict(error: Error): Verdict | null {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  if (code === 'EPROTO' || wrongTls.test(error.message)) return ['INVALID_ARGUMENT', false, 'failed']
  if (certificates.test(code)) return ['UNAUTHORIZED', false, 'failed']
  if (sockets.test(code) || error.name === 'AbortError') return ['UNAVAILABLE', true, 'unknown']
  return null
}
